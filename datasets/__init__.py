"""Datasets: collect, store, relabel, merge and verify episodes."""
