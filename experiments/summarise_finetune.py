"""The documented name of `cog.experiments.tables.finetune`, run with `python -m`."""

from cog.experiments.script import script
from cog.experiments.tables.finetune import SummariseFinetune, summarise

if __name__ == "__main__":
    script(SummariseFinetune, summarise)
