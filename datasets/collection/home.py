"""Where a command finds its user's modules, for workers that began elsewhere on the same disk.

A scene of one's own is named by its module, which lies in the folder of the command. A worker of a cluster
began somewhere else, and may be older than the module's last change: it searches those folders as well,
and refuses where it holds another version.
"""

import os
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cog.core.files import hash_file
from cog.errors import CogError, UsageError
from cog.users import is_toolkits, is_users, load_module


@dataclass(frozen=True)
class Home:
    """What a command tells workers of its user's modules."""

    folder: str
    """Folder in which the command was given."""
    search: tuple[str, ...]
    """Folders in which it finds modules, without those of Python and of installed packages."""
    modules: Mapping[str, str]
    """Hash of the file of each user's module that it has loaded."""

    @classmethod
    def here(cls) -> "Home":
        """The home of this process."""
        folder = Path.cwd()
        paths = [*(Path(entry).absolute() for entry in sys.path), folder]
        search = list(dict.fromkeys(str(path) for path in paths if path.is_dir() and is_users(path)))
        files = {name: getattr(module, "__file__", None) for name, module in sys.modules.copy().items()}
        own = {
            name: hash_file(Path(file))
            for name, file in files.items()
            if file and not _is_programs(name) and _is_among(Path(file), search)
        }
        return cls(str(folder), tuple(search), own)

    def let_search(self) -> None:
        """Let this process find the command's modules, after its own."""
        sys.path.extend(folder for folder in self.search if folder not in sys.path)

    def load(self, names: Iterable[str]) -> None:
        """Import these modules in the command's folder, and make sure that they are the command's.

        Raises:
            CogError: this process does not find one, or holds another version of one.
        """
        if not (wanted := list(names)):
            return
        self.let_search()
        here = f"the worker on {socket.gethostname()}"
        sees = Path(self.folder).is_dir()
        if sees:
            os.chdir(self.folder)  # files that a scene opens are named from there
        for name in wanted:
            try:
                load_module(name, f"{here} cannot be used")
            except UsageError as error:
                if sees:
                    raise
                remedy = "give the command in a folder on a disk that all workers share"
                raise CogError(f"{error}; it does not see {self.folder}", remedy=remedy) from error
        for name, wanted_hash in self.modules.items():
            file = getattr(sys.modules.get(name), "__file__", None)
            if file and _as_loaded(file) != wanted_hash:
                rule = f"{here} has loaded another version of the module {name!r} ({file})"
                raise CogError(rule, remedy="restart the workers")


@cache
def _as_loaded(file: str) -> str:
    """Hash of a module's file when this process first asked, which is when it had loaded it."""
    return hash_file(Path(file))


def _is_programs(module: str) -> bool:
    return is_toolkits(module) or module in ("__main__", "__mp_main__")


def _is_among(file: Path, folders: Iterable[str]) -> bool:
    return file.is_file() and is_users(file) and any(file.is_relative_to(folder) for folder in folders)
