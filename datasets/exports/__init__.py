"""Exports: datasets in the formats of other tools, one module each; `cog.datasets.export` publishes them.

`contents` is what is exported, the same for all; `robomimic`, `minari`, `d3rlpy` and `lerobot` lay it
out.
"""

from typing import Literal

Kind = Literal["robomimic", "minari", "d3rlpy", "lerobot"]
"""The formats."""
