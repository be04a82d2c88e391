"""Jobs that are over in a moment: they write a word, wait to be stopped, or kill their own process."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cog.core.files import hash_file, write_json
from cog.core.stopping import asked_to_stop
from cog.errors import CogError
from cog.experiments.jobs.job import Cost, Help, Job, Stopped


@dataclass(frozen=True)
class Word(Job):
    """Write a word, and those of the jobs before."""

    root: Path
    word: str
    before: tuple["Word", ...] = ()
    size: float = 1.0
    deaths: int = 0
    """Times that it kills its process first."""
    on_gpu: bool = False
    fails: type[BaseException] | None = None
    waits: bool = False
    """Whether it goes on until it is asked to stop, the first time."""

    kind = "write"
    alone = False

    @property
    def name(self) -> str:
        return self.word

    @property
    def needs(self) -> Sequence[Job]:
        return self.before

    @property
    def gpus(self) -> int:
        return int(self.on_gpu)

    @property
    def file(self) -> Path:
        """What it leaves."""
        return self.root / "words" / f"{self.place}.json"

    def decides(self) -> dict[str, Any]:
        return {"word": self.word}

    def cost(self) -> Cost:
        return Cost("write", self.size)

    def work(self, help: Help) -> str | None:
        marks = self.root / "marks"
        marks.mkdir(parents=True, exist_ok=True)
        begun = len(list(marks.glob(f"{self.word}-*")))
        (marks / f"{self.word}-{begun}").write_text(str(os.getpid()))
        if begun < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails is not None:
            raise self.fails("as asked")
        if self.waits and not begun:
            while not asked_to_stop():
                time.sleep(0.01)
            (marks / f"saved-{self.word}").touch()
            raise Stopped("stopped")
        write_json(self.file, {"words": [job.word for job in self.before] + [self.word]})
        return None

    def content(self) -> str:
        if not self.file.exists():
            raise CogError(f"{self.file}: missing")
        return hash_file(self.file)
