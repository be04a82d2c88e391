"""Run a graph of jobs: what is finished stays, what uses all cores runs alone, the rest side by side."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from cog.core.workers import cores, processes
from cog.experiments.jobs.board import board
from cog.experiments.jobs.job import Job, perform

POLL = 1.0  # s between two looks at the running jobs

Seconds = Callable[[Job], float]
"""How long a job is expected to take."""


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


def run_jobs(jobs: Sequence[Job], workers: int, seconds: Seconds) -> None:
    """Do every job that is not finished.

    Args:
        jobs: jobs with their needs, needs first (see `ordered`).
        workers: processes for the jobs that run side by side, at most; 0 is one per core.
        seconds: expected duration; longer jobs are begun earlier.

    Raises:
        CogError: a job failed, naming it; the others are stopped, and continue when this is called again.
    """
    for job in jobs:
        if job.alone and not job.finished():
            perform(job)
    todo = {job.hash: job for job in jobs if not job.alone and not job.finished()}
    if not todo:
        return
    count = min(workers or cores(), len(todo))
    running: dict[Future[None], Job] = {}
    with board(list(todo.values()), seconds) as show, processes(count) as pool:
        while todo or running:
            for job in _next(todo, running.values(), seconds)[: count - len(running)]:
                running[pool.submit(perform, job)] = todo.pop(job.hash)
            for future in wait(running, timeout=POLL, return_when=FIRST_COMPLETED).done:
                future.result()
                show.finish(running.pop(future))
            show.update(list(running.values()))


def _next(todo: dict[str, Job], running: Iterable[Job], seconds: Seconds) -> list[Job]:
    """Jobs that may begin, the longest first: evaluations fill what trainings leave of the cores."""
    blocking = todo.keys() | {job.hash for job in running}
    ready = [job for job in todo.values() if not any(need.hash in blocking for need in job.needs)]
    return sorted(ready, key=lambda job: -seconds(job))
