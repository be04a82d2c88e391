"""Virtual arrays of HDF5, whose values lie in other arrays: which these are, if all lie in the same file.

HDF5 itself would open any file that a virtual array names, and give fill values where there is none.
"""

import math
import os
from pathlib import Path

import h5py

ITSELF = "."  # how a virtual array names the file that it lies in
PATTERN = "%"  # begins what HDF5 replaces by numbers, so that one name stands for several


def sources(node: h5py.Dataset, path: Path) -> list[str] | None:
    """Paths of the arrays that make a virtual array of the file `path`; None if any may lie elsewhere."""
    parts = node.virtual_sources()
    if any(PATTERN in part.dset_name or not _is_own(part.file_name, path) for part in parts):
        return None
    return [str(part.dset_name) for part in parts]


def gap(node: h5py.Dataset, shapes: dict[str, tuple[int, ...]]) -> str | None:
    """What part of a virtual array has no values, in words; `shapes` are those of what it is made of."""
    parts = node.virtual_sources()
    for part in parts:
        shape, count = shapes[part.dset_name], int(part.vspace.get_select_npoints())
        if part.src_space.get_select_type() == h5py.h5s.SEL_ALL:
            if count != math.prod(shape):
                return f"is made of {count} values of {part.dset_name}, whose shape is {shape}"
            continue
        _, last = part.src_space.get_select_bounds()
        if len(last) != len(shape) or any(end >= side for end, side in zip(last, shape, strict=True)):
            return f"is made of entries up to {last} of {part.dset_name}, whose shape is {shape}"
    given = sum(int(part.vspace.get_select_npoints()) for part in parts)
    return f"has sources for {given} of its {node.size} values" if given < node.size else None


def _is_own(name: str, path: Path) -> bool:
    """Whether HDF5 finds the file `path` itself under a name in it, wherever the command was started."""
    if name == ITSELF:
        return True
    if PATTERN in name or "HDF5_VDS_PREFIX" in os.environ:  # either may lead to another file
        return False
    return (path.parent / name).resolve() == path.resolve()
