"""Tests of `cog.algorithms.shared`."""
