"""Texts and facts as shards and manifests can hold them."""

import json
from collections.abc import Mapping
from typing import Any

from cog.errors import UsageError


def is_unicode(text: str) -> bool:
    """Whether it can be encoded; surrogates for undecoded bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_json(option: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they are in a file; refused before any episode is added, because they are written last.

    Raises:
        UsageError: they are not JSON.
    """
    for name, value in facts.items():
        try:
            json.dumps({name: value}, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{option}: field {name!r} must be JSON ({error})",
                remedy="convert NumPy's values with .item() or .tolist(), and leave out what is not finite",
            ) from error
    return dict(json.loads(json.dumps(dict(facts))))
