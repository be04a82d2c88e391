"""Tables: the results that the documentation quotes, from the folders that hold them.

Each module is a command, `python -m cog.experiments.tables.NAME`: `demo`, `rows`, `methods`, `finetune` and
`behaviours`; `seeds` says how seeds are joined.
"""
