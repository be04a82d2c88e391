"""Replay: transitions in memory, and the batches that are drawn from them.

Read `buffer` (shares of each source, n-step transitions), then `frames` (where images lie) and `preview`
(the first batch, described).
"""
