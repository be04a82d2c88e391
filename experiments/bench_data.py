"""The documented name of `cog.experiments.bench.data`, run with `python -m`."""

from cog.experiments.bench.data import BenchData, report
from cog.experiments.script import script

if __name__ == "__main__":
    script(BenchData, report)
