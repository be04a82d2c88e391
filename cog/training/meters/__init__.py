"""Failure meters: the same numbers for every algorithm, which say why one fails.

Read `meters` (all of them, one line of metrics), then what they need: `support` (how far actions are from the
data's), `behaviour` (a clone of the data, for likelihoods) and `rollout` (the error of a learned model).
"""
