"""Replay: transitions in memory, and batches drawn from them.

Read `buffer` (shares of each source, n-step transitions), then `frames` (where images are stored) and
`preview` (the first batch, described).
"""
