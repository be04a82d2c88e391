"""Tests of `cog.algorithms`."""
