"""Importers: data written by other packages, as datasets; `FORMATS` lists them.

Read `source` (what a format provides), `run` (the import) and `detect` (which format a path has); `actions`,
`pictures`, `left_out`, `foreign` and `folders` hold what formats share, every other module one format.
"""

from collections.abc import Mapping

from cog.core.lazy import Entry


def _entry(module: str, name: str, help: str) -> Entry:
    return Entry(f"{__name__}.{module}", name, help)


FORMATS: Mapping[str, Entry] = {
    "robomimic": _entry("robomimic", "RobomimicOptions", "HDF5 files of robomimic."),
    "d4rl": _entry("d4rl", "D4RLOptions", "Flat HDF5 files of states, as D4RL's."),
    "minari": _entry("minari", "MinariOptions", "Minari datasets in HDF5, Arrow or Parquet."),
    "lerobot": _entry("lerobot", "LeRobotOptions", "LeRobot folders, versions 2.1 and 3."),
    "maniskill": _entry("maniskill", "ManiSkillOptions", "ManiSkill 3 trajectories in HDF5."),
    "ogbench": _entry("ogbench", "OGBenchOptions", "OGBench npz files: published, regular or compact."),
    "diffusion_policy": _entry(
        "diffusion_policy", "DiffusionPolicyOptions", "Diffusion Policy's replay buffers in Zarr."
    ),
    "dreamer": _entry("dreamer", "DreamerOptions", "Dreamer's and V-D4RL's episodes in npz or HDF5."),
    "reference": _entry("reference", "ReferenceOptions", "Files of the original COG code, in npy."),
}
"""Every format, with the options that open its sources (see `source.ImportOptions`)."""
