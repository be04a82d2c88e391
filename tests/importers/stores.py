"""Zarr stores of format 2 written byte by byte from its definition, as folders and as zip files."""

import itertools
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

Files = dict[str, bytes]


def files_of(name: str, values: np.ndarray, rows: int, packed: bool = False, **changes: Any) -> Files:
    """The files of one array whose chunks hold `rows` rows each; `changes` are to its metadata."""
    shape = values.shape
    chunks = (rows, *shape[1:])
    about = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": values.dtype.str,
        "compressor": {"id": "zlib", "level": 1} if packed else None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }
    found = {f"{name}/.zarray": json.dumps(about | changes).encode()}
    counts = [range(-(-side // step)) for side, step in zip(shape, chunks, strict=True)]
    for place in itertools.product(*counts):
        full = np.zeros(chunks, values.dtype)  # the last chunk is filled up
        part = values[place[0] * rows : (place[0] + 1) * rows]
        full[: len(part)] = part
        data = zlib.compress(full.tobytes()) if packed else full.tobytes()
        found[f"{name}/{'.'.join(map(str, place))}"] = data
    return found


def buffer(columns: dict[str, np.ndarray], ends: np.ndarray, rows: int, packed: bool = False) -> Files:
    """The files of a replay buffer of Diffusion Policy."""
    group = json.dumps({"zarr_format": 2}).encode()
    found = {".zgroup": group, "data/.zgroup": group, "meta/.zgroup": group}
    for name, values in columns.items():
        found |= files_of(f"data/{name}", values, rows, packed)
    return found | files_of("meta/episode_ends", ends, max(1, len(ends)))


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_zip(path: Path, files: dict[str, bytes], folder: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(folder + name, data)
    return path
