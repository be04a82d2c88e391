"""Tests of `cog.provenance`."""
