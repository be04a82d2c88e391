"""Exporters: datasets in the formats of other packages; `FORMATS` lists them.

Read `run` (the export), `contents` (what is exported, the same for all formats), then a format with its own
options; `hdf5` and `statistics` are shared.
"""

from collections.abc import Mapping

from cog.core.lazy import Entry


def _entry(module: str, name: str, help: str) -> Entry:
    return Entry(f"{__name__}.{module}", name, help)


FORMATS: Mapping[str, Entry] = {
    "robomimic": _entry("robomimic", "RobomimicExport", "One HDF5 file for robomimic."),
    "minari": _entry("minari", "MinariExport", "A dataset folder for Minari."),
    "d3rlpy": _entry("d3rlpy", "D3RLPYExport", "One HDF5 file for d3rlpy's ReplayBuffer.load."),
    "lerobot": _entry("lerobot", "LeRobotExport", "A dataset folder for LeRobot, version 3."),
}
"""Every format, with the options that write it (see `run.ExportOptions`)."""
