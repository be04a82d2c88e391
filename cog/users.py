"""Code of users: imported by name from their folder, and called so that whatever it raises is one line."""

import importlib
import os
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cog.errors import CogError, UsageError

LONGEST = 300  # characters of a user's error that are repeated


@contextmanager
def users_code(what: str, refusal: Callable[..., CogError] = CogError) -> Iterator[None]:
    """Turn whatever a user's code raises in this block into one error that says `what` raised it, and where.

    Errors of the toolkit, a lack of memory and Ctrl-C pass as they are. `refusal` makes the error of its text
    and a `remedy`. Paths stay what they were where the code goes to another folder.

    Raises:
        CogError: the code raised anything else, or called `sys.exit`.
    """
    try:
        with _same_folder():
            yield
    except (CogError, MemoryError):
        raise
    except SystemExit as error:
        raise refusal(
            f"{what} ends the program: sys.exit({error.code!r}){_place(error)}".lstrip(),
            remedy="raise an exception there, or return",
        ) from error
    except Exception as error:
        raise refusal(f"{what} raises {told(error)}{_place(error)}".lstrip(), remedy=None) from error


def told(error: BaseException) -> str:
    """Type and text of an error, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:LONGEST]}" if text else type(error).__name__


def load_module(name: str, what: str) -> Any:
    """Import a user's module by its name; `what` says whose it is, such as "environment 'x' cannot be built".

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        with _same_folder():
            return importlib.import_module(name)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # a user's module may raise anything, or end the process
        missing = isinstance(error, ModuleNotFoundError) and error.name == name
        raise UsageError(
            f"{what}: the module {name!r} does not load ({told(error)})",
            remedy="change to its folder, or put that on PYTHONPATH" if missing else None,
        ) from error


def load_function(name: str, what: str) -> Any:
    """A user's function by its name, `module:function`; `what` says what it is for, such as "policy".

    Raises:
        UsageError: there is no such module or function.
    """
    module, _, function = name.partition(":")
    if not (module and function):
        raise UsageError(f"{what} {name!r} is no function", remedy="name it as module:function")
    found = getattr(load_module(module, f"{what} {name!r} cannot be used"), function, None)
    if not callable(found):
        kind = "nothing of that name" if found is None else f"a {type(found).__name__}, no function"
        raise UsageError(f"{what} {name!r}: the module {module!r} has {kind}", remedy="check its spelling")
    return found


def modules_of(*names: str) -> list[str]:
    """The modules in names of the form `module:name`, each once."""
    return list(dict.fromkeys(module for name in names if (module := name.rpartition(":")[0])))


def is_users(path: Path) -> bool:
    """Whether a path is neither of Python nor of an installed package."""
    own = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not installed and not any(path.is_relative_to(folder) for folder in own)


def is_toolkits(module: str) -> bool:
    """Whether a module of this name is the toolkit's."""
    return module.partition(".")[0] == "cog"


@contextmanager
def _same_folder() -> Iterator[None]:
    """Come back to the current folder at the end, if there is one."""
    here = None
    with suppress(OSError):
        here = os.getcwd()  # noqa: PTH109 - at every step of a scene, where Path.cwd() is slow
    try:
        yield
    finally:
        with suppress(OSError):
            if here is not None and os.getcwd() != here:  # noqa: PTH109
                os.chdir(here)


def _place(error: BaseException) -> str:
    """File and line in which an error arose, the innermost that is not of an installed package.

    Nothing where only the toolkit's own lines were run, as when a function cannot be called.
    """
    walked = list(traceback.walk_tb(error.__traceback__))
    frames = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in walked
        if not is_toolkits(frame.f_globals.get("__name__", ""))
    ]
    own = [(file, line) for file, line in frames if is_users(file)] or frames
    return f" ({own[-1][0].name}, line {own[-1][1]})" if own else ""
