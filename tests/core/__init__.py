"""Tests of `cog.core`."""
