"""The HDF5 file of d3rlpy's `ReplayBuffer.dump`, which its `ReplayBuffer.load` reads; nothing is pickled.

    columns, num_episodes, version      names of the arrays of an episode, and so on
    observations_i_0, observations_i_1  image (T, 3, H, W) uint8, those of further cameras in order of their
                                        names, and proprio (T, P) float32: a tuple
    observations_i                      where there is one: state (T, N) float32, or the one chosen
    actions_i (T, A) float32, rewards_i (T, 1) float32, terminated_i (a flag)
    cog                                 origin of the data, JSON

d3rlpy does not store the frame after the last step. A terminal step needs none; the last step of a cut-off
episode is in the file but is never sampled, as in everything that d3rlpy records itself. Whether actions are
numbers or choices is not in the file either: `load` guesses it from the first episode.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np

from cog.core.files import write_atomically
from cog.datasets.exporters.contents import ORIGIN, Contents, Numbered
from cog.datasets.exporters.hdf5 import new_hdf5
from cog.datasets.exporters.run import ExportOptions
from cog.errors import UsageError

VERSION = "2.1"  # of the layout, which d3rlpy checks
COLUMNS = ("observations", "actions", "rewards", "terminated")
NO_POSE = "proprio_absent"  # fact of data whose pose is one constant 0
CHOICES = (
    "all actions of the first episode are whole numbers, so d3rlpy's load takes them for choices (discrete), "
    "not numbers; after loading, make the buffer anew: d3rlpy.dataset.ReplayBuffer("
    "d3rlpy.dataset.InfiniteBuffer(), episodes=loaded.episodes, action_space=d3rlpy.ActionSpace.CONTINUOUS)"
)


@dataclass(frozen=True)
class D3RLPYExport(ExportOptions):
    """How a d3rlpy file is written."""

    format: ClassVar[str] = "d3rlpy"

    observation: str | None = None
    """The one observation to write, such as image. Default: all that the data hold, several as a tuple."""

    def write(self, contents: Contents, out: Path) -> int:
        names = observation_names(contents, self.observation)
        if len(names) > 1:
            contents.notes.append(
                f"an observation is the tuple ({', '.join(names)}), for encoders of your own: d3rlpy's "
                f"algorithms train on one array; {' or '.join(f'--observation {name}' for name in names)} "
                "writes one"
            )
        if contents.scale is not None:
            contents.notes.append(
                "d3rlpy's policies act in [-1, 1]: give the algorithm "
                "action_scaler=MinMaxActionScaler(minimum, maximum) with the bounds, or write --units unit"
            )
        sampled: list[int] = []
        write_atomically(out, lambda path: sampled.append(write(path, contents, names)), new=True)
        return sampled[0]


def observation_names(contents: Contents, chosen: str | None) -> tuple[str, ...]:
    """Names of the observations that are written: all, or the chosen one.

    The constant that stands for a pose that the data lack is written only if it is chosen.

    Raises:
        UsageError: the data do not contain it.
    """
    names = tuple(contents.shapes)
    if chosen is not None and chosen not in names:
        raise UsageError(
            f"observation {chosen!r} is not in the data", remedy=f"choose one of: {', '.join(names)}"
        )
    if chosen is not None:
        return (chosen,)
    return tuple(name for name in names if name != "proprio" or not contents.environment.get(NO_POSE))


def write(path: Path, contents: Contents, names: tuple[str, ...]) -> int:
    """Write one HDF5 file with the named observations; returns the number of steps that d3rlpy will sample.

    Raises:
        CogError: the data cannot be read.
        OSError: the file cannot be written.
    """
    sampled = 0
    with new_hdf5(path) as (file, check):
        for item in contents.episodes(whole=True):
            if item.number == 0 and _whole(item.episode.actions):
                contents.notes.append(CHOICES)
            _write_episode(file, item, names)
            check()
            sampled += len(item.episode) - item.truncated()
        file["columns"] = list(COLUMNS)
        file["num_episodes"] = contents.episode_count
        file["version"] = VERSION
        file[ORIGIN] = json.dumps(contents.origin(), sort_keys=True)
    return sampled


def _whole(actions: np.ndarray) -> bool:
    """Whether every number is whole, which is how d3rlpy tells choices from numbers."""
    return bool((actions == np.trunc(actions)).all())


def _write_episode(file: h5py.File, item: Numbered, names: tuple[str, ...]) -> None:
    number, episode, observations = item.number, item.episode, item.observations()
    for place, name in enumerate(names):
        values = observations[name][:-1]
        key = f"observations_{number}" + (f"_{place}" if len(names) > 1 else "")
        if name in item.cameras:
            channels_first = np.moveaxis(values, 3, 1)
            file.create_dataset(key, data=channels_first, compression="gzip", compression_opts=1)
        else:
            file[key] = values
    file[f"actions_{number}"] = episode.actions
    file[f"rewards_{number}"] = np.asarray(episode.rewards, np.float32)[:, None]
    file[f"terminated_{number}"] = not item.truncated()
