"""Tests of `cog.training`."""
