"""Tests of `cog.replay`."""
