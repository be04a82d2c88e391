"""Tests of `cog.tabular`."""
