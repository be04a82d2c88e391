"""The documented name of `cog.experiments.tables.rows`, run with `python -m`."""

from cog.experiments.script import script
from cog.experiments.tables.rows import SummariseRows, summarise

if __name__ == "__main__":
    script(SummariseRows, summarise)
