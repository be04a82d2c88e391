"""The demo: the whole chain in one command, with a report; a recipe on the graph of `cog.experiments.jobs`.

Read `config`, `plan` (what is trained and on what), `demo` and `report`.
"""
