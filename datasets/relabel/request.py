"""Request: what a relabelling asks for, refused before any data are read."""

import math
import re

from cog.errors import UsageError

STORED = "stored"  # the name of rewards that lie in the shards of materialised data
LONGEST = 255  # bytes of a file's name
NAME = re.compile(r"\w[\w.-]*")


def refuse_invalid(rule: str, name: str, scale: float, terminate: bool) -> None:
    """Refuse values of another type, a name that no view can have, and a scale that is no factor.

    Raises:
        UsageError: naming the value.
    """
    if not (isinstance(rule, str) and isinstance(name, str) and isinstance(terminate, bool)):
        raise UsageError(f"rule and name must be text and terminate a bool, got {(rule, name, terminate)}")
    if not NAME.fullmatch(name) or name == STORED:
        raise UsageError(
            f"invalid view name {name!r}",
            remedy=f"use letters, digits, '_', '-' and '.'; '{STORED}' is reserved",
        )
    if (length := len(f"{name}.json".encode())) > LONGEST:
        raise UsageError(
            f"the view name {name[:20]}... is too long: its file's name would have {length} bytes",
            remedy=f"choose one of at most {LONGEST - len('.json')} bytes",
        )
    if not isinstance(scale, int | float) or not math.isfinite(scale) or scale <= 0:
        raise UsageError(f"scale must be finite and positive, got {scale!r}")
