"""Relabel: a view gives a dataset rewards by a rule; the shards stay as they are.

Read `view` (the file), `rules` (what a rule may be), `grammar` (how it is written) and `terms` (what its
names mean).
"""

from typing import Any

__all__ = ["open_view", "relabel"]


def __getattr__(name: str) -> Any:
    """`relabel` and `open_view` of `view`, imported when they are first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cog.datasets.relabel import view

    return getattr(view, name)
