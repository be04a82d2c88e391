"""A job: a piece of work in a folder of its own, named by the hash of its settings and of the jobs it needs.

out/
  data/<name>-<hash>/          datasets, with their views
  merges/<name>-<hash>.json    likewise counts/
  runs/<name>-<hash>/
  evaluations/<name>-<hash>/
  records/<kind>-<hash>.json   what each job was, took and left; written last

Two experiments that ask for the same piece share it, and a command that was killed finds what is finished: a
job is, if its record names the content that is there now and the content of all it was made from.
"""

import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from cog.core.files import hash_json, read_json, write_json
from cog.core.stopping import asked_to_stop
from cog.errors import CogError

FORMAT = 1
DIGITS = 12  # of the hash, in names


class Stopped(CogError):  # noqa: N818 - it is no failure
    """A job was asked to stop; what it had done is saved, and the next attempt continues from there."""


@dataclass(frozen=True)
class Help:
    """What a job may use while it works."""

    save: Callable[[], None]
    """To be called whenever what was done would survive a kill; the time spent so far is then recorded."""
    executor: Executor | None = None
    """Who computes the parts of a job that runs alone; none: this process."""
    slots: int = 1
    """How many such parts to keep in flight."""


@dataclass(frozen=True)
class Cost:
    """What a job takes, in the units of its class."""

    kind: str
    """Class of jobs with the same cost of one unit, such as `train cql image cpu`."""
    units: float
    """Number of units: updates, or steps of the simulator."""


class Job(ABC):
    """Base of all jobs; those of equal `hash` are the same piece of work."""

    kind: ClassVar[str]
    """What it does: a verb."""
    alone: ClassVar[bool]
    """Whether it has all workers to itself, and is done here; others run side by side, one core each."""

    root: Path
    """Folder of the experiments."""
    at: str | None = None
    """Where below `root` it leaves what it makes; none is under its own name."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name for people, determined by the content."""

    @property
    @abstractmethod
    def needs(self) -> Sequence["Job"]:
        """Jobs that come first."""

    @abstractmethod
    def decides(self) -> dict[str, Any]:
        """Everything that decides the content, beside the content of `needs`, as JSON values."""

    @abstractmethod
    def cost(self) -> Cost:
        """What the whole job takes."""

    @property
    def parts(self) -> int:
        """Pieces that several workers can compute at the same time."""
        return 1

    @property
    def gpus(self) -> int:
        """GPUs that it computes on, beside its one core."""
        return 0

    @abstractmethod
    def work(self, help: Help) -> str | None:
        """Do it, or finish what was begun; returns a remark on the result worth telling, if any.

        Raises:
            Stopped: `cog.core.stopping.asked_to_stop` said so.
            CogError: it failed.
        """

    @abstractmethod
    def content(self) -> str:
        """Hash of what the job left.

        Raises:
            CogError: nothing is there, or not what was written.
        """

    def progress(self) -> tuple[float, str]:
        """Share of the work that is done, as seen from outside, and a note."""
        return 0.0, ""

    @cached_property
    def hash(self) -> str:
        """Identity of the job."""
        needs = [job.hash for job in self.needs]
        return hash_json({"kind": self.kind, "decides": self.decides(), "needs": needs})

    @property
    def place(self) -> str:
        """Name of the job's own file or folder."""
        return f"{self.name}-{self.hash[:DIGITS]}"

    @property
    def title(self) -> str:
        """What it does, for people."""
        return f"{self.kind} {self.at or self.place}"

    @property
    def record_file(self) -> Path:
        """File of the job's record."""
        return self.root / "records" / f"{self.kind}-{self.hash[:DIGITS]}.json"

    def record(self) -> dict[str, Any]:
        """The job's record, empty if it was never begun.

        Raises:
            CogError: the record is of another job or version.
        """
        if not self.record_file.exists():
            return {}
        value = read_json(self.record_file, "the record of a job")
        if (value.get("format"), value.get("hash")) != (FORMAT, self.hash):
            raise CogError(f"{self.record_file}: belongs to another job or version; choose another folder")
        return value

    def finished(self) -> bool:
        """Whether the result is there, whole, and made from what `needs` left."""
        record = self.record()
        if record.get("content") is None:
            return False
        with suppress(CogError):
            made_from = {job.place: job.record().get("content") for job in self.needs}
            return record["made_from"] == made_from and record["content"] == self.content()
        return False


def ordered(jobs: Sequence[Job]) -> list[Job]:
    """The jobs and all they need, each once, needs first."""
    found: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.hash not in found:
            for need in job.needs:
                visit(need)
            found[job.hash] = job

    for job in jobs:
        visit(job)
    return list(found.values())


def perform(job: Job, executor: Executor | None = None, slots: int = 1) -> None:
    """Do a job in this process, unless it is finished, and write its record; earlier attempts' time counts.

    `executor` and `slots` are those of `Help`.

    Raises:
        Stopped: it was asked to stop; what was done is saved.
        CogError: naming the job; what was saved stays.
    """
    if job.finished():  # a scheduler that lost a worker asks again for what it had done
        return
    before = job.record()
    cpu, wall = before.get("cpu_seconds", 0.0), before.get("wall_seconds", 0.0)
    began, used = time.monotonic(), _cpu_seconds()
    cost = job.cost()

    def record(content: str | None, note: str | None) -> None:
        value = {
            "format": FORMAT,
            "kind": job.kind,
            "hash": job.hash,
            "name": job.name,
            "decides": job.decides(),
            "made_from": {need.place: need.record().get("content") for need in job.needs},
            "content": content,
            "note": note,
            "cost": cost.kind,
            "units": cost.units,
            "share": 1.0 if content is not None else job.progress()[0],
            "cpu_seconds": round(cpu + _cpu_seconds() - used, 3),
            "wall_seconds": round(wall + time.monotonic() - began, 3),
        }
        write_json(job.record_file, value)

    try:
        note = job.work(Help(lambda: record(None, None), executor, slots))
        record(job.content(), note)
    except Stopped:
        raise
    except CogError as error:
        raise CogError(f"{job.title}: {error}") from error


def stop_if_asked() -> None:
    """Raise Stopped if whoever runs this job has asked for it; what is finished of it stays."""
    if asked_to_stop():
        raise Stopped("stopped before its end")


def _cpu_seconds() -> float:
    """Processor time of this process and of its ended children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
