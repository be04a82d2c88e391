"""Algorithms: each is one class in one file, named after its paper.

Read `base` (what every algorithm shares), then `bc` and `cql`.
"""
