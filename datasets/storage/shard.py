"""A shard: whole episodes in one immutable HDF5 file whose bytes depend on nothing but the episodes.

The file is built in memory and published in one step, so a name on disk is a whole shard. Its attribute
`hashes` holds a hash of every array and of the attributes, so a shard can be trusted before a manifest names
it. Hashed is what is stored, which compression made a tenth of the arrays. Format 1 hashed the arrays
themselves; such a shard is read where a manifest has the hash of the file.
"""

import hashlib
import io
import json
import math
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cog.core.files import hash_json, read_remedy, write_bytes
from cog.datasets.episode import Episode
from cog.datasets.storage.container import read_bytes
from cog.datasets.storage.layout import (
    CAMERAS,
    INDEX,
    NUMBERS,
    PER_FRAME,
    PER_STEP,
    TEXTS,
    check,
    is_per_frame,
    is_picture,
    pack,
    unpack,
)
from cog.datasets.storage.memory import refuse_shortage
from cog.datasets.storage.problem import RECOLLECT, DataError, Problem
from cog.errors import CogError

FORMAT = 2
SEVERAL = 3  # with further cameras, which versions before would leave out
EARLIER = 1  # read only by the hash in a manifest
# Fixed, so that the bytes do not follow the newest format; checksums metadata.
LIBRARY_VERSION = ("v110", "v110")
FRAMES_PER_CHUNK = 16
ROWS_PER_CHUNK = 4096
LARGEST_RATIO = 1100  # deflate cannot shrink further; a larger claim is damage
HASH_BYTES = 16  # of an array's hash
FIELDS = (*PER_FRAME, *PER_STEP, *(INDEX + name for name in (*NUMBERS, *TEXTS)))


def write_shard(path: Path, episodes: Sequence[Episode], spec_hash: str, index: int) -> str:
    """Publish `episodes` as the shard `path`; returns the hash of the file.

    Raises:
        CogError: the episodes break a rule, or the file cannot be written (disk full); nothing is published.
    """
    data = encode_shard(episodes, spec_hash, index, path)
    with ThreadPoolExecutor(1) as thread:
        digest = thread.submit(hash_bytes, data)  # while this thread waits for the disk
        write_bytes(path, data)
        return digest.result()


def read_shard(
    path: Path,
    *,
    file_hash: str | None = None,
    spec_hash: str | None = None,
    index: int | None = None,
    pictures: bool = True,
) -> list[Episode]:
    """Read and check a whole shard; where hashes or the index are given, it must carry them.

    Without `pictures` images are not decompressed, and are zeros of their shape that take no memory.

    Raises:
        DataError: the file is missing, truncated, damaged, not HDF5 or breaks a rule of the layout.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        rule = f"the shard cannot be read ({error.strerror})"
        raise DataError(Problem(path, "file", rule, read_remedy(error, RECOLLECT))) from error
    if file_hash is None:
        return decode_shard(data, path, spec_hash, index, pictures=pictures)
    if hash_bytes(data) != file_hash:
        raise _explain(data, path)
    return decode_shard(data, path, spec_hash, index, trusted=True, pictures=pictures)


def hash_bytes(data: bytes) -> str:
    """The blake2b-256 digest of a file's bytes; equals `cog.core.files.hash_file`."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def encode_shard(episodes: Sequence[Episode], spec_hash: str, index: int, path: Path) -> bytes:
    """The bytes of a shard; the same episodes give the same bytes. `path` is only named in errors."""
    arrays, names = pack(episodes, path)
    # Hashes of the stored bytes are known only once the file exists, so the attribute is written with random
    # digits of the same length, which occur once in the file and are replaced at the end: nothing moves.
    lengths = {"attributes": 32} | dict.fromkeys(arrays, HASH_BYTES)
    blank = json.dumps({field: secrets.token_hex(length) for field, length in sorted(lengths.items())})
    with h5py.File(path.name, "w", libver=LIBRARY_VERSION, driver="core", backing_store=False) as file:
        cameras = [field for field in arrays if field.startswith(CAMERAS)]
        file.attrs["format"] = SEVERAL if cameras else FORMAT
        file.attrs["spec_hash"] = spec_hash
        file.attrs["shard_index"] = index
        file.attrs["hashes"] = blank
        stored: dict[str, h5py.h5d.DatasetID] = {}
        for field in (*(name for name in FIELDS if name in arrays), *cameras):
            array = arrays[field]
            rows = min(len(array), FRAMES_PER_CHUNK if is_picture(field) else ROWS_PER_CHUNK)
            options: dict[str, Any] = {"chunks": (rows, *array.shape[1:])}
            if array.dtype.kind == "S":
                array = array.astype(h5py.string_dtype("utf-8", array.dtype.itemsize))
            if is_picture(field):
                options |= {"compression": "gzip", "compression_opts": 1}  # carries a checksum of its own
            else:
                options["fletcher32"] = True
            stored[field] = file.create_dataset(field, data=array, **options).id
            file.flush()  # space is allotted in this order, whatever other threads do
        file["signals"].attrs["names"] = json.dumps(list(names))
        file.flush()
        data = file.id.get_file_image()
        hashes = {field: _hash_stored(array, data) for field, array in stored.items()}
        hashes["attributes"] = _hash_attributes(names, spec_hash, index)
    return data.replace(blank.encode(), json.dumps(hashes, sort_keys=True).encode(), 1)


def decode_shard(
    data: bytes,
    path: Path,
    spec_hash: str | None = None,
    index: int | None = None,
    *,
    trusted: bool = False,
    pictures: bool = True,
) -> list[Episode]:
    """The episodes in the bytes of a shard, checked; `path` is only named in errors.

    `trusted` bytes are known to be those that were written, so the hashes of the arrays are not needed;
    `pictures` as for `read_shard`.

    Raises:
        DataError: as for `read_shard`.
    """
    try:
        file = h5py.File(io.BytesIO(data), "r")
    except Exception as error:  # whatever h5py makes of damaged bytes
        rule = f"this is not an HDF5 file, or it is truncated or damaged ({len(data)} bytes)"
        raise _unreadable(error, path, "file", rule, len(data), trusted) from error
    try:
        with file:
            found_spec, found_index = _check_attributes(file, path, spec_hash, index, trusted)
            arrays = {
                field: _read(file, field, path, len(data), trusted, pictures or not is_picture(field))
                for field in (*(name for name in FIELDS if name.encode() in file.id), *_cameras(file))
            }
            names = json.loads(file["signals"].attrs["names"]) if "signals" in file else []
            if not trusted:
                found = {field: _hash_stored(file[field].id, data) for field in arrays}
                found["attributes"] = _hash_attributes(names, found_spec, found_index)
                hashes = json.loads(file.attrs["hashes"])
    except (DataError, MemoryError):
        raise
    except Exception as error:
        rule = "the file's description is damaged"
        raise _unreadable(error, path, "attributes", rule, len(data), trusted) from error
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise DataError(Problem(path, "signals", "attribute 'names' must be a list of texts"))
    check(arrays, names, path)
    if trusted:
        return unpack(arrays, names)
    if not isinstance(hashes, dict) or hashes.keys() != found.keys():
        raise DataError(Problem(path, "hashes", "must name the arrays of the file, each once"))
    for field, value in found.items():
        if hashes[field] != value:
            raise DataError(Problem(path, field, "the content differs from its recorded hash"))
    return unpack(arrays, names)


def _hash_attributes(names: Sequence[str], spec_hash: str, index: int) -> str:
    """Hash of the attributes, which HDF5 does not protect."""
    return hash_json([list(names), spec_hash, index])


def _hash_stored(array: h5py.h5d.DatasetID, data: bytes) -> str:
    """Hash of an array's type, shape and filters, and of its chunks as they lie in the bytes of the file.

    Stored bytes are hashed, not values: images are compressed, so there are about a tenth as many.

        file      ... [frames 0 to 15, compressed] [frames 16 to 31, compressed] ... HDF5's index of them ...
        hashed    "|u1 (F, H, W, 3) ...", "(0, 0, 0, 0) 0", these bytes, "(16, 0, 0, 0) 0", these bytes, ...

    Each chunk is hashed with its place in the array, so swapped chunks are noticed. The index itself is not
    hashed: if it is damaged, it leads to other places or bytes.
    """
    description = array.get_create_plist()
    if description.get_layout() != h5py.h5d.CHUNKED:
        return "not in chunks"  # as all are that were written here
    filters = [description.get_filter(number)[:3] for number in range(description.get_nfilters())]
    head = f"{array.dtype.str} {array.shape} {description.get_chunk()} {filters}"
    digest = hashlib.blake2b(head.encode(), digest_size=HASH_BYTES)
    content = memoryview(data)

    def add(chunk: h5py.h5d.StoreInfo) -> None:
        digest.update(f"{chunk.chunk_offset} {chunk.filter_mask}".encode())
        digest.update(content[chunk.byte_offset : chunk.byte_offset + chunk.size])

    array.chunk_iter(add)
    return digest.hexdigest()


def _explain(data: bytes, path: Path) -> CogError:
    """Name the damage in a file whose hash is wrong, as closely as possible."""
    try:
        decode_shard(data, path)
    except DataError as error:
        return error
    except MemoryError:  # it may claim anything, and is damaged in any case
        pass
    rule = "the file differs from the hash in the manifest"
    return DataError(Problem(path, "file", rule))


def _check_attributes(
    file: h5py.File, path: Path, spec_hash: str | None, index: int | None, trusted: bool
) -> tuple[str, int]:
    """Compare the attributes with what is expected; returns the hash of the spec and the shard's number."""
    found = {name: file.attrs.get(name) for name in ("format", "spec_hash", "shard_index")}
    earlier = trusted and found["format"] == EARLIER
    form = EARLIER if earlier else SEVERAL if _cameras(file) else FORMAT
    wanted = {"format": form, "spec_hash": spec_hash, "shard_index": index}
    for name, value in wanted.items():
        if found[name] is None:
            raise DataError(Problem(path, name, "must be present; this is not a cog shard"))
        if value is not None and found[name] != value:
            raise DataError(Problem(path, name, f"must be {value}, found {found[name]}"))
    return str(found["spec_hash"]), int(found["shard_index"])


def _cameras(file: h5py.File) -> list[str]:
    """The arrays of further cameras, in order of their names."""
    group = CAMERAS.removesuffix("/").encode()
    if group not in file.id or file.id.links.get_info(group).type != h5py.h5l.TYPE_HARD:
        return []
    node = h5py.h5o.open(file.id, group)
    return sorted(CAMERAS + name.decode() for name in node) if isinstance(node, h5py.h5g.GroupID) else []


def _unreadable(
    error: Exception,
    path: Path,
    field: str,
    rule: str,
    needed: int,
    trusted: bool,
    episode: int | None = None,
) -> DataError:
    """The error for what h5py cannot read: `rule`, unless the bytes are known to be those that were written.

    Raises:
        MemoryError: about `needed` bytes of memory are lacking.
    """
    refuse_shortage(error, needed, f"to read {path}")
    if trusted:
        rule = f"HDF5 cannot read it ({error}), though the file is the one that was written"
        return DataError(Problem(path, field, rule, "free memory, or try another version of h5py", episode))
    return DataError(Problem(path, field, rule, episode=episode))


def _read(file: h5py.File, field: str, path: Path, file_size: int, trusted: bool, wanted: bool) -> np.ndarray:
    """One array, without following links out of the file or trusting impossible sizes; zeros if not `wanted`.

    h5py's low-level calls are used: the others cost more than reading an index array.
    """
    try:
        node = _inside(file, field.encode())
        size = 0 if node is None else math.prod(node.shape) * node.dtype.itemsize
    except Exception as error:
        rule = "the array's description is damaged"
        raise _unreadable(error, path, field, rule, file_size, trusted) from error
    if node is None:
        raise DataError(Problem(path, field, "must be an array stored in this file"))
    if size > LARGEST_RATIO * file_size:
        raise DataError(Problem(path, field, f"claims {size} bytes, more than the file can hold"))
    if not wanted:
        return np.broadcast_to(np.zeros((), node.dtype), node.shape)
    array = np.zeros(node.shape, node.dtype)
    try:
        node.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
        return array
    except Exception as error:
        needed = min(array.nbytes, 4 * _chunk_size(node))  # a chunk is held as stored and as decompressed
        refuse_shortage(error, needed, f"to read {path}")
        rule, episode = "the stored values are damaged (checksum)", _damaged_episode(file, field)
        raise _unreadable(error, path, field, rule, needed, trusted, episode) from error


def _chunk_size(array: h5py.h5d.DatasetID) -> int:
    """Bytes of one chunk; of everything, if it is not stored in chunks."""
    description = array.get_create_plist()
    chunked = description.get_layout() == h5py.h5d.CHUNKED
    size: int = math.prod(description.get_chunk() if chunked else array.shape) * array.dtype.itemsize
    return size


def _inside(file: h5py.File, name: bytes) -> h5py.h5d.DatasetID | None:
    """The array of that name, if it is one and its values lie in this very file."""
    if file.id.links.get_info(name).type != h5py.h5l.TYPE_HARD:
        return None
    node = h5py.h5o.open(file.id, name)
    if not isinstance(node, h5py.h5d.DatasetID):
        return None
    description = node.get_create_plist()
    outside = description.get_layout() == h5py.h5d.VIRTUAL or description.get_external_count()
    return None if outside else node


def _damaged_episode(file: h5py.File, field: str) -> int | None:
    """Number of the first episode whose part of `field` cannot be read, if the index allows."""
    if field.startswith(INDEX):
        return None
    try:
        extra = 1 if is_per_frame(field) else 0
        offsets = file[INDEX + ("frame_offset" if extra else "step_offset")][...].tolist()
        lengths = (file[INDEX + "length"][...] + extra).tolist()
    except MemoryError:
        raise
    except Exception:
        return None
    for number, (offset, length) in enumerate(zip(offsets, lengths, strict=False)):
        try:
            file[field][offset : offset + length]
        except MemoryError:
            raise
        except Exception:
            return number
    return None
