"""Tests of `cog.signals`."""
