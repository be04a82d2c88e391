"""Tests of `cog.classifier`."""
