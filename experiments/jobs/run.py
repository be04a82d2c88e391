"""Run a graph of jobs: what is finished stays, what needs all workers goes first, the rest side by side."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from cog.core.console import Display, display
from cog.core.stopping import Asked, stop_signals, stoppable
from cog.experiments.jobs.crew import Crew, Place, open_crew
from cog.experiments.jobs.job import Job, Stopped, perform, stop_if_asked

POLL = 0.5  # s between two looks at the running jobs
GRACE = 9.0  # s that running jobs have to save when they are asked to stop

INTERRUPTED = "interrupted; what was done is saved, and the same command continues"

Seconds = Callable[[Job], float]
"""How long a job is expected to take."""


def run_jobs(jobs: Sequence[Job], place: Place, seconds: Seconds) -> None:
    """Do every job that is not finished.

    SIGINT and SIGTERM let the running jobs save, and end this with one sentence.

    Args:
        jobs: jobs with their needs, needs first (see `cog.experiments.jobs.job.ordered`).
        place: who does them.
        seconds: expected duration; longer jobs are begun earlier.

    Raises:
        Stopped: a signal came; what was done is saved.
        CogError: a job failed, naming it; the others have saved, and continue when this is called again.
    """
    left = [job for job in jobs if not job.finished()]
    if not left:
        return
    shared = [job for job in left if not job.alone]
    most = max(len(shared), *(job.parts for job in left))
    with stop_signals(patient=True) as stopped, open_crew(place, most) as crew:
        _run_alone([job for job in jobs if job.alone], crew, stopped)
        _run_shared([job for job in jobs if not job.alone and not job.finished()], crew, seconds, stopped)


def _run_alone(jobs: Sequence[Job], crew: Crew, stopped: Asked) -> None:
    """Do jobs in this process, one after the other; workers compute their parts."""
    with stoppable(stopped), crew.parts() as (executor, slots):
        try:
            for job in jobs:
                perform(job, executor, slots)
                stop_if_asked()
        except Stopped:
            raise Stopped(INTERRUPTED) from None


def _run_shared(jobs: Sequence[Job], crew: Crew, seconds: Seconds, stopped: Asked) -> None:
    """Do jobs whose other needs are finished, no more at a time than there are workers."""
    todo, running = {job.hash: job for job in jobs}, dict[str, Job]()
    with display() as shown:
        board = _Board(jobs, seconds, shown)
        try:
            while todo or running:
                for job in _startable(todo, running, crew, seconds):
                    crew.submit(job)
                    running[job.hash] = todo.pop(job.hash)
                if not running:
                    board.wait()
                for end in crew.ended(POLL):
                    job = running.pop(end.job.hash)
                    if isinstance(end.error, Stopped):  # its worker closes; another one goes on
                        todo[job.hash] = job
                    elif end.error is not None:
                        raise end.error
                    else:
                        board.finish(job)
                if stopped():
                    raise Stopped(INTERRUPTED)
                board.show(running.values())
        except BaseException as error:
            cut = _stop(crew, running)
            if cut and isinstance(error, Stopped):
                names = ", ".join(job.title for job in cut)
                raise Stopped(f"{INTERRUPTED}; not saved in time, and kept as last saved: {names}") from None
            raise


def _startable(
    todo: Mapping[str, Job], running: Mapping[str, Job], crew: Crew, seconds: Seconds
) -> list[Job]:
    """Jobs to begin now, the longest first: evaluations fill what trainings leave of the workers."""
    blocking = todo.keys() | running.keys()
    ready = [job for job in todo.values() if not any(need.hash in blocking for need in job.needs)]
    if not ready:
        return []
    ready.sort(key=lambda job: -seconds(job))
    free, gpus = crew.slots() - len(running), None
    chosen: list[Job] = []
    for job in ready:
        if len(chosen) >= free:
            break
        if job.gpus:
            if gpus is None:
                gpus = crew.gpus() - sum(other.gpus for other in running.values())
            if gpus < job.gpus:
                continue
            gpus -= job.gpus
        chosen.append(job)
    return chosen


def _stop(crew: Crew, running: dict[str, Job]) -> list[Job]:
    """Ask the running jobs to save, and wait a while; those that did not end."""
    if running:
        crew.ask_to_stop()
    deadline = time.monotonic() + GRACE
    while running and time.monotonic() < deadline:
        for end in crew.ended(POLL):
            running.pop(end.job.hash, None)
    return list(running.values())


class _Board:
    """All work in one line, and a line for each running job; shares are of expected durations."""

    def __init__(self, jobs: Sequence[Job], seconds: Seconds, shown: Display) -> None:
        self._seconds = {job.hash: seconds(job) for job in jobs}
        self._share = {job.hash: job.progress()[0] for job in jobs}
        self._done = 0
        self._shown = shown
        self._waited = False

    def finish(self, job: Job) -> None:
        """A job has ended."""
        self._share[job.hash] = 1.0
        self._done += 1
        self._shown.drop(job.title)
        self._shown.say(f"{self._count()}: {job.title} done")

    def show(self, running: Iterable[Job]) -> None:
        """Show the running jobs."""
        for job in running:
            share, note = job.progress()
            self._share[job.hash] = max(share, self._share[job.hash])
            self._shown.show(job.title, share, 1.0, f"{share:.0%}  {note}")
        done = sum(self._seconds[name] * share for name, share in self._share.items())
        total = max(sum(self._seconds.values()), 1e-9)
        self._shown.show("all", done / total, 1.0, f"{self._count()}, {done / total:.0%} of the work")
        self._shown.refresh()

    def wait(self) -> None:
        """There is work, and nobody to do it."""
        if not self._waited:
            self._waited = True
            self._shown.say("waiting for a worker that can do what is left")

    def _count(self) -> str:
        return f"{self._done}/{len(self._seconds)} jobs"
