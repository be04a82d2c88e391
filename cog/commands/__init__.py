"""Commands: one dataclass a command, its fields the options; `cog.cli` lists them all.

A command imports its work when it runs, so that `cog --help` starts fast.
"""
