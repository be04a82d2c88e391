"""Tests of imports, one format each, against what its package or definition says."""
