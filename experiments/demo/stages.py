"""A run in stages that remembers, in one small file, which are finished and how long each took."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cog.core.configs import differences
from cog.core.files import read_json, write_json
from cog.core.lock import content
from cog.errors import CogError

FORMAT = 1
BOOK = "demo.json"


class Stages:
    """The stages of the run in `out`; an interrupted run continues with the first unfinished one."""

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        """Claim the folder for the run that `identity` (as JSON) describes.

        Raises:
            CogError: the folder holds another run or something else; nothing has been written.
        """
        self.path = out / BOOK
        self._identity = dict(identity)
        self._seconds: dict[str, float] = {}
        self._finished: list[str] = []
        if self.path.exists():
            held = read_json(self.path, "the book of a demo")
            if held.get("format") != FORMAT:
                raise CogError(
                    f"{self.path}: format {held.get('format')} is not {FORMAT}; choose another folder"
                )
            if differing := differences(held["identity"], self._identity):
                raise CogError(
                    f"{out} already holds another demo; differing: {', '.join(differing)}. "
                    "Nothing was written; choose another folder with --out."
                )
            self._seconds, self._finished = held["seconds"], held["finished"]
        elif out.exists() and (not out.is_dir() or content(out)):
            raise CogError(
                f"{out} is not empty and holds no demo; nothing was written, choose another folder with --out"
            )
        self._write()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each stage took, interrupted attempts included."""
        return dict(self._seconds)

    def finished(self, name: str) -> bool:
        """Whether the stage has been completed."""
        return name in self._finished

    def run(self, name: str, work: Callable[[], object]) -> None:
        """Do the stage's work unless it is finished."""
        if self.finished(name):
            return
        began, before = time.monotonic(), self._seconds.get(name, 0.0)
        try:
            work()
            self._finished.append(name)
        finally:
            self._seconds[name] = round(before + time.monotonic() - began, 2)
            self._write()

    def _write(self) -> None:
        write_json(
            self.path,
            {
                "format": FORMAT,
                "kind": "demo",
                "identity": self._identity,
                "seconds": self._seconds,
                "finished": self._finished,
            },
        )
