"""Minari's dataset folder, as its HDF5 storage lays it out, with losslessly stored images.

    data/metadata.json         spaces, counts, identity; under `cog` the origin of the data
    data/main_data.hdf5        one group per episode:
      episode_i/observations/  `image` (T+1, H, W, 3) uint8, further cameras by name, (T+1, H, W, 3 or 1), and
                               `proprio` (T+1, P), or `state` (T+1, N)
      episode_i/actions        (T, A); `rewards` (T,), `terminations` (T,), `truncations` (T,)
      episode_i/infos/signals/NAME   (T+1,) float32

It is written without the package, which appends to its file in place, in a folder of the user: a killed
export would leave a partial file under the final name. So only h5py is needed. Minari before 0.5.4 rightly
refuses the folder: it would read every image as a JPEG.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from cog.core.files import write_folder_atomically, write_json
from cog.datasets.exporters.contents import ORIGIN, Contents, Numbered
from cog.datasets.exporters.hdf5 import images_in_chunks, new_hdf5
from cog.datasets.exporters.run import ExportOptions
from cog.errors import UsageError

VERSION = "0.5.4"  # of the layout; the first that can record that images are not JPEGs
FRAMES_PER_CHUNK = 16
_ID = re.compile(r"(?:[-\w][-\w/]*/)?[-\w]+?-v\d+")


@dataclass(frozen=True)
class MinariExport(ExportOptions):
    """How a Minari folder is written."""

    format: ClassVar[str] = "minari"

    name: str | None = None
    """Id of the dataset; the path must end with it. Default: the folder's name."""

    def write(self, contents: Contents, out: Path) -> int:
        name = dataset_id(out, self.name)
        write_folder_atomically(out, lambda folder: write(folder, contents, name))
        return contents.step_count


def dataset_id(out: Path, name: str | None) -> str:
    """Minari's id of the dataset in the folder `out`: `name`, which must end its path, or the folder's name.

    Raises:
        UsageError: it is not an id, or the folder has another name.
    """
    found = out.name if name is None else name
    if not _ID.fullmatch(found):
        raise UsageError(
            f"invalid Minari id {found!r}", remedy="name datasets NAME-vNUMBER, such as drawer-v0"
        )
    if out.parts[-len(Path(found).parts) :] != Path(found).parts:
        raise UsageError(
            f"Minari finds the dataset {found!r} only in a folder of that name, but --out is {out}",
            remedy="make --out end with the id",
        )
    return found


def write(folder: Path, contents: Contents, name: str) -> None:
    """Fill an existing folder.

    Raises:
        CogError: the data cannot be read.
        OSError: the files cannot be written.
    """
    data = folder / "data"
    data.mkdir()
    with new_hdf5(data / "main_data.hdf5") as (file, check):
        for item in contents.episodes(whole=True):
            _write_episode(file.create_group(f"episode_{item.number}"), item)
            check()
    size = (data / "main_data.hdf5").stat().st_size
    metadata = {
        "dataset_id": name,
        "minari_version": VERSION,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "total_episodes": contents.episode_count,
        "total_steps": contents.step_count,
        "dataset_size": round(size / 1e6, 1),
        "observation_space": json.dumps({"type": "Dict", "subspaces": _spaces(contents)}),
        "action_space": json.dumps(_action_box(contents)),
        ORIGIN: contents.origin(),
    }
    write_json(data / "metadata.json", metadata)


def _write_episode(group: h5py.Group, item: Numbered) -> None:
    episode = item.episode
    observations = group.create_group("observations")
    for name, values in item.observations().items():
        if name in item.cameras:
            images_in_chunks(observations, name, values, FRAMES_PER_CHUNK)
        else:
            observations[name] = values
    truncations = np.zeros(len(episode), bool)
    truncations[-1] = item.truncated()
    group["actions"] = episode.actions
    group["rewards"] = episode.rewards
    group["terminations"] = episode.terminals
    group["truncations"] = truncations
    for name, values in episode.signals.items():
        group[f"infos/signals/{name}"] = values
    facts = item.facts()
    facts["options/start"] = facts["start"]  # with these options a reset repeats the episode's start
    group.attrs.update({"id": item.number, "total_steps": len(episode), **facts})


def _spaces(contents: Contents) -> dict[str, Any]:
    """Observation spaces by name, as Minari writes them."""
    return {
        name: _box("uint8", shape, 0, 255)
        if name in contents.cameras
        else _box("float32", shape, -np.inf, np.inf)
        for name, shape in contents.shapes.items()
    }


def _action_box(contents: Contents) -> dict[str, Any]:
    """The space of the actions, as they are written."""
    low, high = (bounds.astype(np.float32).tolist() for bounds in contents.action_bounds)
    return _box("float32", contents.action_shape, -1.0, 1.0) | {"low": low, "high": high}


def _box(kind: str, shape: tuple[int, ...], low: float, high: float) -> dict[str, Any]:
    """A Gymnasium box with the same bounds everywhere, as Minari writes it."""
    bounds = {"low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist()}
    return {"type": "Box", "dtype": kind, "shape": list(shape), **bounds}
