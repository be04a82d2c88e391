"""The documented name of `cog.experiments.bench.environment`, run with `python -m`."""

from cog.experiments.bench.environment import BenchEnvironment, report
from cog.experiments.script import script

if __name__ == "__main__":
    script(BenchEnvironment, report)
