"""Datasets: collect, store, relabel, merge and verify episodes.

In reading order: `episode` and `spec` (what there is and how it is drawn), `layout` and `shard` (how it is
stored), `store`, `growing` and `claim` (a folder of shards), `container` and `packed` (the same in one file),
`recorder`, `rollout` and `collect`, `terms`, `grammar` and `rules` (how rewards are written), `relabel`,
`merge`, `transitions` (what the learner gets), `materialise`, `subset`, `filter` and `split`, `writer` and
`importers` (data from elsewhere), `export`, `verify`, `repair`, `info`. Demonstrations by people: `keyboard`,
`teleop`, `front_ends`, `terminal`, `window`.
"""
