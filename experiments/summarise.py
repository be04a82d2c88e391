"""The documented name of `cog.experiments.tables.demo`, run with `python -m`."""

from cog.experiments.script import script
from cog.experiments.tables.demo import Summarise, summarise

if __name__ == "__main__":
    script(Summarise, summarise)
