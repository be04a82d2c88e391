"""The documented name of `cog.experiments.tables.behaviours`, run with `python -m`."""

from cog.experiments.script import script
from cog.experiments.tables.behaviours import MeasureBehaviours, report

if __name__ == "__main__":
    script(MeasureBehaviours, report)
