"""Who does the jobs: this process, or the workers of a Dask cluster; the runner sees no difference."""

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

from cog.core.console import messages
from cog.core.stopping import stoppable
from cog.core.workers import cores
from cog.errors import missing_extra
from cog.experiments.jobs.job import Job, perform


@dataclass(frozen=True)
class Place:
    """Where jobs are to run."""

    workers: int = 0
    """Processes on this machine; 0 is one per core, 1 is this process."""
    dask: str | None = None
    """Address of a Dask scheduler to use instead."""
    dashboard: bool = False
    """Whether the local cluster shows Dask's dashboard."""


@dataclass(frozen=True)
class Ended:
    """A job that a worker is done with."""

    job: Job
    """The job."""
    error: BaseException | None
    """Why it is not finished, if it is not; `Stopped` if it was asked to stop."""


class Crew(ABC):
    """Who does the jobs."""

    @abstractmethod
    def slots(self) -> int:
        """Jobs that can run side by side now."""

    @abstractmethod
    def gpus(self) -> int:
        """Jobs on a GPU that can run side by side now."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Begin a job."""

    @abstractmethod
    def ended(self, seconds: float) -> list[Ended]:
        """Wait up to `seconds` for a job to end; those that have."""

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Ask every job of this crew to save and end, soon; returns at once."""

    @contextmanager
    def parts(self) -> Iterator[tuple[Executor | None, int]]:
        """An executor for the parts of a job that runs alone, and how many parts to keep in flight."""
        yield None, 1


class ThisProcess(Crew):
    """One job at a time, in a thread of this process: the main thread shows progress and hears signals."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()

    def slots(self) -> int:
        return 1

    def gpus(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        threading.Thread(target=self._do, args=(job,), daemon=True).start()

    def ended(self, seconds: float) -> list[Ended]:
        try:
            return [self._ended.get(timeout=seconds)]
        except queue.Empty:
            return []

    def ask_to_stop(self) -> None:
        self._asked.set()

    def _do(self, job: Job) -> None:
        try:
            with stoppable(self._asked.is_set):
                perform(job)
        except BaseException as error:
            self._ended.put(Ended(job, error))
        else:
            self._ended.put(Ended(job, None))


@contextmanager
def open_crew(place: Place, most: int) -> Iterator[Crew]:
    """The crew of a place, no larger than `most` jobs can use; local workers end with it.

    Raises:
        CogError: no scheduler answers, or Dask is not installed though several workers are asked for.
    """
    count = min(place.workers or cores(), most)
    if place.dask is None and count <= 1:
        yield ThisProcess()
        return
    try:
        from cog.experiments.jobs import cluster
    except ImportError as error:
        if place.dask is not None or place.workers:
            raise missing_extra("distributed", "dask") from error
        messages().print(
            "the package 'distributed' (of the extra 'dask') is not installed: jobs run one after another",
            style="yellow",
        )
        yield ThisProcess()
        return
    made = cluster.local(count, place.dashboard) if place.dask is None else cluster.joined(place.dask)
    with made as crew:
        yield crew
