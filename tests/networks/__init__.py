"""Tests of `cog.networks`."""
