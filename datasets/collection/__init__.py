"""Collection: scripted behaviours act in an environment, and their episodes become shards.

Read `spec` (what is asked for), `rollout` (one shard as a function of it), `recorder` (one episode) and
`collect`.
"""
