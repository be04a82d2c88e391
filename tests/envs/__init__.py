"""Tests of `cog.envs`."""
