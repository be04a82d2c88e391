"""Replay: transitions in memory, and batches drawn from them.

Read `buffer` (shares of each source, n-step transitions), then `frames` (where images are stored), `history`
(those before, by index) and `preview` (the first batch, described).
"""
