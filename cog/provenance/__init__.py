"""Provenance: what everything on disk was made from, and whether that still holds.

Read `lineage` (`cog why`), `recheck` (`cog verify --deep`), `summaries` and `verify_run`.
"""
