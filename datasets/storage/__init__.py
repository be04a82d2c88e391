"""Storage: a dataset on disk, immutable shards under one manifest.

Read `layout` and `shard` (one file), `dataset` (a folder), `folder`, `claim` and `growing` (folders being
written), `elsewhere` (views apart), `container` and `packed` (all in one file), `problem`, `memory`, `verify`
and `repair`.
"""
