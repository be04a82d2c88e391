"""Exporters: datasets in the formats of other packages, one module each.

Read `run` (what an export does), `contents` (what is exported, the same for all), then a format; `hdf5`
and `statistics` are shared.
"""

from typing import Literal

Kind = Literal["robomimic", "minari", "d3rlpy", "lerobot"]
"""The formats."""
