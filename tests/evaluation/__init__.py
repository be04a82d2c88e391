"""Tests of `cog.evaluation`."""
