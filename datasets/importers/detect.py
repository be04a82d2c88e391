"""Which format a file or folder has, from its names and keys alone; nothing of its data is read."""

import contextlib
import itertools
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py

from cog.core.files import is_pointer, refuse_unreadable
from cog.datasets.importers.foreign.hdf5 import ForeignFile
from cog.datasets.importers.source import ImportOptions, Source
from cog.errors import CogError, UsageError

HDF5, NPY, ZIP, GZIP = b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"PK", b"\x1f\x8b"
START = 8  # bytes that tell the kinds of files apart
EPISODES = (".npz", ".hdf5", ".h5")  # of a folder with a file for each
LOOKED_AT = 1000  # entries of a folder
FOLDERS = ("minari", "lerobot", "diffusion_policy")  # formats that are folders of several kinds of files
DEPTH = 3  # folders above a file of a Minari or LeRobot dataset
HDF5_OFFSETS = (0, 512, 1024, 2048)
UNKNOWABLE = (OSError, RuntimeError, KeyError, ValueError)
"""What a damaged file may raise; its format is unknown then."""
WRITER = "write its episodes with cog.DatasetWriter (docs/guides/own-data.md)"
UNREAD: Mapping[str, str] = {
    ".tfrecord": "TensorFlow records, as RLDS and Open X-Embodiment",
    ".bag": "a ROS bag",
    ".db3": "a ROS 2 bag",
    ".mcap": "an MCAP log",
    ".pkl": "a pickle",
    ".pickle": "a pickle",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".parquet": "a table in Parquet",
    ".arrow": "a table in Arrow",
    ".csv": "a table in text",
    ".mp4": "a video",
    ".mat": "a MATLAB file",
}
"""Kinds of data that no importer reads, by the ending of their names."""


def detect(path: Path) -> list[str]:
    """The formats that `path` looks like, most often one; empty if it looks like none.

    Raises:
        CogError: there is no such file or folder.
    """
    if not path.exists():
        raise CogError("there is no such file or folder", where=path)
    with contextlib.suppress(*UNKNOWABLE):
        look = _in_folder if path.is_dir() else _in_file
        return list(look(path))
    return []


def describe(path: Path) -> UsageError:
    """The answer to an import without a format: what the path looks like, and the command to run.

    Raises:
        CogError: there is no such file or folder, or it is an HDF5 file that cannot be opened.
    """
    refuse_unreadable(path)
    found = detect(path)
    if found:
        what = f"no format is given; this looks like {' or '.join(found)}"
        commands = " or ".join(f"cog import {name} {path} --out FOLDER" for name in found)
        return UsageError(what, where=path, remedy=f"run {commands}")
    whole = _whole(path)
    if whole is not None:
        folder, name = whole
        what = f"no format is given; this is a part of what looks like {name}"
        return UsageError(what, where=path, remedy=f"run cog import {name} {folder} --out FOLDER")
    if path.is_dir():
        within = _first_within(path)
        if within is not None:
            file, name = within
            what = f"no format is given; the folder holds files that look like {name}"
            return UsageError(what, where=path, remedy=f"run cog import {name} {file} --out FOLDER")
    if path.is_file() and _at(path, 0) == HDF5:
        ForeignFile(path).close()  # says so if it is cut off or cannot be opened
    if is_pointer(path):
        return UsageError(
            "this is a pointer of Git LFS, not the file", where=path, remedy="fetch it with: git lfs pull"
        )
    if path.is_file() and _at(path, 0).startswith(ZIP) and not zipfile.is_zipfile(path):
        what = "this begins as an archive (npz or zip), but its list of contents is missing: it is cut off"
        return UsageError(what, where=path, remedy="copy or download the file again")
    if (path / "manifest.json").is_file():
        return UsageError(
            "this is a dataset of cog already, which needs no import",
            where=path,
            remedy="use it as it is, such as with cog info",
        )
    return UsageError(f"no format is given; {_unread(path)}", where=path, remedy=WRITER)


def is_path(text: str) -> bool:
    """Whether an argument is a path rather than the name of a format."""
    return not text.startswith("-") and (Path(text).exists() or "/" in text or Path(text).suffix != "")


def open_source(path: Path, options: ImportOptions) -> Source:
    """Open a source; where that fails and it looks like another format, the error names it.

    Raises:
        UsageError: an option names what the source does not have.
        CogError: it cannot be read, or is of another format.
    """
    refuse_unreadable(path)
    try:
        return options.open(path)
    except CogError as error:
        others = detect(path) if path.exists() else []
        whole = _whole(path) if path.exists() and not others else None
        if whole is not None:
            what = f"this is a part of what looks like {whole[1]}"
            remedy = f"run cog import {whole[1]} {whole[0]} --out FOLDER"
        elif others and options.format not in others:
            what = f"this is no source of the format {options.format}, but looks like {' or '.join(others)}"
            remedy = f"run cog import {others[0]} {path} --out FOLDER"
        else:
            raise
        raise UsageError(what, where=path, remedy=remedy) from error


def _in_folder(path: Path) -> Iterator[str]:
    names = {entry.name for entry in path.iterdir()}
    below = path / "data" if (path / "data/metadata.json").is_file() else path
    metadata = _json(below / "metadata.json")
    if "data_format" in metadata or "total_episodes" in metadata or (below / "main_data.hdf5").is_file():
        yield "minari"
    if "codebase_version" in _json(path / "meta/info.json"):
        yield "lerobot"
    ends = path / "meta/episode_ends"
    if any((ends / file).is_file() for file in (".zarray", "zarr.json")):
        yield "diffusion_policy"
    if not names & {"metadata.json", "meta"}:
        ones = (name for name in sorted(names) if Path(name).suffix in EPISODES)
        episode = next(ones, None)
        if episode is not None and "dreamer" in _in_file(path / episode):
            yield "dreamer"


def _in_file(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        start = file.read(START)
    if start.startswith(ZIP):
        yield from _in_zip(path)
    elif start.startswith(NPY):
        if _holds_objects(path):
            yield "reference"
    elif start == HDF5 or any(_at(path, offset) == HDF5 for offset in HDF5_OFFSETS[1:]):
        with h5py.File(path, "r") as opened:
            yield from _in_hdf5(opened)


def _in_hdf5(file: h5py.File) -> Iterator[str]:
    names = set(file)
    own = "data" in names and not isinstance(file.get("data", getlink=True), h5py.ExternalLink)
    data = file["data"] if own else None
    if isinstance(data, h5py.Group) and any(name.startswith("demo_") for name in data):
        yield "robomimic"
    if any(name.startswith("traj_") for name in names):
        yield "maniskill"
    if {"observations", "actions"} <= names:
        yield "d4rl"
    if {"action", "observation"} <= names or {"action", "step_type"} <= names:
        yield "dreamer"


def _in_zip(path: Path) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as file:
            names = {name.removesuffix(".npy") for name in file.namelist()}
    except zipfile.BadZipFile:
        return
    if {"observations", "actions", "terminals"} <= names:
        yield "ogbench"
    if "action" in names and names & {"is_first", "is_last", "is_terminal", "discount", "reward"}:
        yield "dreamer"
    if any(name.endswith(("meta/episode_ends/.zarray", "meta/episode_ends/zarr.json")) for name in names):
        yield "diffusion_policy"


def _whole(path: Path) -> tuple[Path, str] | None:
    """The folder of several files that a path lies in, and its format."""
    for folder in path.resolve().parents[:DEPTH]:
        found = [name for name in detect(folder) if name in FOLDERS]
        if found:
            return folder, found[0]
    return None


def _first_within(path: Path) -> tuple[Path, str] | None:
    """The first file of a folder that looks like a format, and that format."""
    for entry in itertools.islice(sorted(path.iterdir()), LOOKED_AT):
        found = [] if entry.name.startswith(".") else detect(entry)
        if found:
            return entry, found[0]
    return None


def _unread(path: Path) -> str:
    """What a path without a format is, as far as its names tell."""
    if path.is_file() and not path.stat().st_size:
        return "it is empty"
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    endings = {
        suffix.split("-")[0] for file in files[:1000] for suffix in file.suffixes
    }  # shards add -N-of-M
    kinds = {UNREAD[ending] for ending in endings & UNREAD.keys()}
    if kinds:
        return f"it is {' and '.join(sorted(kinds))}, which is not read yet"
    return "it looks like none that is read"


def _holds_objects(path: Path) -> bool:
    with path.open("rb") as file:
        return b"'descr': '|O'" in file.read(256)


def _at(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(START)


def _json(path: Path) -> Mapping[str, Any]:
    """A JSON object, or an empty one where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
