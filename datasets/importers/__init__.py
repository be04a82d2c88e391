"""Importers: data written by other packages, as datasets; `FORMATS` lists them.

Read `source` (what a format provides), `run` (the import) and `hdf5`, `pictures`, `video`; every other module
is a format with its own options.
"""

from collections.abc import Mapping

from cog.core.lazy import Entry


def _entry(module: str, name: str, help: str) -> Entry:
    return Entry(f"{__name__}.{module}", name, help)


FORMATS: Mapping[str, Entry] = {
    "robomimic": _entry("robomimic", "RobomimicOptions", "robomimic's HDF5 files."),
    "d4rl": _entry("d4rl", "D4RLOptions", "Flat HDF5 files of states, as D4RL's."),
    "minari": _entry("minari", "MinariOptions", "Minari datasets in HDF5."),
    "lerobot": _entry("lerobot", "LeRobotOptions", "LeRobot folders, version 3."),
}
"""Every format, with the options that open its sources (see `source.ImportOptions`)."""
