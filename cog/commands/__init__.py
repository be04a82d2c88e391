"""Commands: one dataclass per command, whose fields are the options; `cog.cli` lists them all.

A command imports its work when it runs, so that `cog --help` starts fast.
"""
