"""Tests of `cog.algorithms.model_based`."""
