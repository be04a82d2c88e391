"""Relabel: a view gives a dataset rewards by a rule; the shards stay as they are.

Read `view` (the file), `rules` (what a rule may be), `grammar` (how it is written) and `terms` (what its
names mean).
"""
