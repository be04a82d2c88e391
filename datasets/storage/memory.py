"""Too little memory, told apart from damage: libraries report both alike when an allocation fails inside."""

import numpy as np

SHORT = ("memory allocation", "allocate memory", "unable to allocate", "out of memory")
"""Words of libraries for an allocation that failed, in lower case."""


def refuse_shortage(error: BaseException, needed: int, what: str) -> None:
    """Raise MemoryError if an error may come from too little memory, and return otherwise.

    It does if it says so, or if `needed` bytes, about as many as the library wanted, cannot be had now: HDF5
    reports a filter whose allocation failed in the same words as one that met damaged bytes. `what` is what
    was being done, such as "to read data/shards/00000.h5".

    Raises:
        MemoryError: naming `what`.
    """
    if isinstance(error, MemoryError) or any(word in str(error).lower() for word in SHORT):
        raise MemoryError(what) from error
    try:
        np.empty(needed, np.uint8)
    except MemoryError:
        raise MemoryError(what) from error
