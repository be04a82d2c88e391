"""Scripts of experiments (`python -m cog.experiments.NAME`): options, errors and exit codes as in `cog`."""

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from cog.core.options import with_usable_paths
from cog.core.program import exit_codes

Settings = TypeVar("Settings")


def script(settings: type[Settings], work: Callable[[Settings], None]) -> None:
    """Do the work with the settings of the command line, and exit: 0 done, 1 failed, 2 wrong usage."""
    with exit_codes():
        work(with_usable_paths(tyro.cli(settings)))
    sys.exit(0)
