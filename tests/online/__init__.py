"""Tests of `cog.online`."""
