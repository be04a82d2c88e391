"""Collection: scripted behaviours act in an environment, and their episodes become shards.

Read `spec` (the settings), `rollout` (one shard as a function of them), `recorder` (one episode) and
`collect`.
"""
