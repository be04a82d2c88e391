"""Tests of `cog.datasets`."""
