"""Scripts of experiments (`python -m cog.experiments.NAME`): options, errors and exit codes as in `cog`."""

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from cog.cli import DONE, FAILED, WRONG_USAGE
from cog.console import messages
from cog.errors import CogError, UsageError

Settings = TypeVar("Settings")


def script(settings: type[Settings], work: Callable[[Settings], None]) -> None:
    """Do the work with the settings of the command line, and exit: 0 done, 1 failed, 2 wrong usage."""
    code = DONE
    try:
        work(tyro.cli(settings))
    except CogError as error:
        messages().print(f"cog: {error}", style="red", markup=False)
        code = WRONG_USAGE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        messages().print("cog: interrupted", style="red")
        code = FAILED
    sys.exit(code)
