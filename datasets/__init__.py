"""Datasets: collect, store, relabel, merge and verify episodes.

Read `episode` (the data), `storage` (the files), `collection`, `relabel`, `merge`, `load` and `transitions`
(the input of learning), `writer` and `importers` (other data), then `edit`, `exporters`, `materialise`,
`info` and `teleop`.
"""
