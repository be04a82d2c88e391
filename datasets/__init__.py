"""Datasets: collect, store, relabel, merge and verify episodes.

Read `episode` (what there is), `storage` (how it is kept), `collection`, `relabel`, `merge`, `load` and
`transitions` (what the learner gets), `writer` and `importers` (data from elsewhere), then `edit`,
`exporters`, `materialise`, `info` and `teleop`.
"""
