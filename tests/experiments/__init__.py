"""Tests of `cog.experiments`."""
