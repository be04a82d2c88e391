"""Robomimic's HDF5: one group per demonstration, with observations before and after every step.

    data/demo_i/obs/image      (T, H, W, 3) uint8, and `proprio` (T, P) float32; or `state` (T, N) alone
    data/demo_i/obs/NAME       (T, H, W, 3 or 1) uint8, of each further camera
    data/demo_i/next_obs/...   the same, one frame later
    data/demo_i/actions        (T, A) float32; `rewards` (T,) float32; `dones` (T,) int64, 1 on terminal steps
    data/demo_i/signals/NAME   (T+1,) float32: an addition, which robomimic ignores
    mask/task, mask/prior      filter keys of the roles of a merge; `train`, `valid` if a share is held out
    cog                        origin of the data, JSON

In a training configuration, cameras in colour go under the modality `rgb`, `proprio` or `state` under
`low_dim`. Actions are in the robot's units where these are known. There are no `states`, which are MuJoCo's
and serve to reset its scenes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np

from cog.core.bounds import refuse_outside, refuse_seed
from cog.core.files import write_atomically
from cog.datasets.edit.split import SEED_BITS
from cog.datasets.exporters.contents import ORIGIN, Contents, Numbered
from cog.datasets.exporters.hdf5 import images_in_chunks, new_hdf5
from cog.datasets.exporters.run import ExportOptions
from cog.errors import UsageError

GYM_TYPE = 2  # robomimic's number for Gym environments


@dataclass(frozen=True)
class RobomimicExport(ExportOptions):
    """How a robomimic file is written."""

    format: ClassVar[str] = "robomimic"

    valid_share: float = 0.0
    """Share of the episodes with the filter key valid; the others get train. 0 writes neither key."""
    seed: int = 0
    """Seed that draws that share."""

    def __post_init__(self) -> None:
        """Refuse a share outside [0, 1) and a seed out of range.

        Raises:
            UsageError: naming it.
        """
        refuse_outside(self, "[0, 1)", "valid_share")
        refuse_seed(self.seed, SEED_BITS)

    def write(self, contents: Contents, out: Path) -> int:
        if self.valid_share and contents.episode_count < 2:
            raise UsageError("valid_share needs at least two episodes")
        if contents.scale is not None:
            contents.notes.append(
                "robomimic's policies act in [-1, 1]: let its action_config normalise the actions by "
                "min_max, or write --units unit"
            )
        if contents.grey:
            contents.notes.append(
                f"{', '.join(contents.grey)} have one channel; robomimic's modality rgb takes three"
            )
        write_atomically(out, lambda path: write(path, contents, self.valid_share, self.seed), new=True)
        return contents.step_count


def write(path: Path, contents: Contents, valid_share: float = 0.0, seed: int = 0) -> None:
    """Write one HDF5 file; `valid_share` of the demonstrations, drawn by `seed`, get the filter key `valid`.

    Raises:
        CogError: the data cannot be read.
        OSError: the file cannot be written.
    """
    roles: dict[str, list[int]] = {}
    with new_hdf5(path) as (file, check):
        data = file.create_group("data")
        for item in contents.episodes(whole=False):
            _write_demo(data.create_group(f"demo_{item.number}"), item)
            check()
            roles.setdefault(contents.merge.sources[item.source].role, []).append(item.number)
        data.attrs["total"] = contents.step_count
        data.attrs["env_args"] = json.dumps(_env_args(contents))
        keys = roles if len(contents.merge.sources) > 1 else {}
        if valid_share:
            keys = keys | _split(contents.episode_count, valid_share, seed)
        for name, numbers in keys.items():
            file[f"mask/{name}"] = np.array([f"demo_{number}" for number in numbers], "S")
        file[ORIGIN] = json.dumps(contents.origin(), sort_keys=True)


def _write_demo(demo: h5py.Group, item: Numbered) -> None:
    episode = item.episode
    for name, values in item.observations().items():
        for group, part in (("obs", values[:-1]), ("next_obs", values[1:])):
            if name in item.cameras:
                images_in_chunks(demo.require_group(group), name, part, 1)  # robomimic reads frame by frame
            else:
                demo[f"{group}/{name}"] = part
    demo["actions"] = episode.actions
    demo["rewards"] = episode.rewards
    demo["dones"] = np.asarray(episode.terminals, np.int64)
    for name, values in episode.signals.items():
        demo[f"signals/{name}"] = values
    demo.attrs["num_samples"] = len(episode)
    demo.attrs.update(item.facts())


def _env_args(contents: Contents) -> dict[str, object]:
    """The environment as robomimic describes one."""
    facts = contents.environment
    return {"env_name": facts.get("id", ""), "type": GYM_TYPE, "env_kwargs": facts.get("options", {})}


def _split(episodes: int, valid_share: float, seed: int) -> dict[str, list[int]]:
    """Filter keys `train` and `valid`, neither of them empty."""
    count = min(max(round(valid_share * episodes), 1), episodes - 1)
    order = np.random.default_rng(seed).permutation(episodes)
    return {"train": sorted(order[count:].tolist()), "valid": sorted(order[:count].tolist())}
