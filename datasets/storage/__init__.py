"""Storage: a dataset on disk, immutable shards under one manifest.

Read `layout` and `shard` (one file), `dataset` (a folder), `claim` and `growing` (folders being written),
`container` and `packed` (the same in one file), `problem`, `verify` and `repair`.
"""
