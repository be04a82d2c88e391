"""Several cameras, from shards to policies."""
