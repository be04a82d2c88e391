"""What people see while jobs run side by side: all work in one bar, and a bar for each running job."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cog.core.console import PLAIN_INTERVAL, messages
from cog.experiments.jobs.job import Job

Seconds = Callable[[Job], float]


class Board:
    """Counts what is done; the work left is estimated from what the finished part took."""

    def __init__(self, jobs: Sequence[Job], seconds: Seconds) -> None:
        self._seconds = {job.hash: seconds(job) for job in jobs}
        self._begun = {job.hash: job.progress()[0] for job in jobs}
        self._done = 0
        self._began = time.monotonic()

    def finish(self, job: Job) -> None:
        """A job has ended."""
        self._begun[job.hash] = 1.0
        self._done += 1

    def update(self, running: Sequence[Job]) -> None:
        """Show the running jobs; called about once a second."""

    def count(self) -> str:
        """Jobs done and in all."""
        return f"{self._done}/{len(self._seconds)} jobs"

    def share(self, running: Sequence[Job]) -> float:
        """Share of the expected time that lies behind."""
        done = dict(self._begun)
        done |= {job.hash: max(done[job.hash], job.progress()[0]) for job in running}
        total = sum(self._seconds.values())
        return sum(self._seconds[name] * share for name, share in done.items()) / max(total, 1e-9)


class _Lines(Board):
    """A line every few seconds, and one for each job that ends."""

    def __init__(self, jobs: Sequence[Job], seconds: Seconds, screen: Console) -> None:
        super().__init__(jobs, seconds)
        self._screen = screen
        self._last = time.monotonic()

    def finish(self, job: Job) -> None:
        super().finish(job)
        self._screen.print(f"{self.count()}: {job.kind} {job.place} done")

    def update(self, running: Sequence[Job]) -> None:
        if time.monotonic() - self._last < PLAIN_INTERVAL or not running:
            return
        self._last = time.monotonic()
        states = [f"{job.kind} {job.place} {job.progress()[0]:.0%}" for job in running]
        text = f"{self.count()}, {self.share(running):.0%} of the work: {'; '.join(states)}"
        self._screen.print(text)


class _Bars(Board):
    """Bars on a terminal."""

    def __init__(self, jobs: Sequence[Job], seconds: Seconds, bars: Progress) -> None:
        super().__init__(jobs, seconds)
        self._bars = bars
        self._all = bars.add_task("all", total=1.0, note="")
        self._tasks: dict[str, TaskID] = {}

    def finish(self, job: Job) -> None:
        super().finish(job)
        if job.hash in self._tasks:
            self._bars.remove_task(self._tasks.pop(job.hash))

    def update(self, running: Sequence[Job]) -> None:
        for job in running:
            if job.hash not in self._tasks:
                title = f"{job.kind} {job.place}"
                self._tasks[job.hash] = self._bars.add_task(title, total=1.0, note="")
            share, note = job.progress()
            self._bars.update(self._tasks[job.hash], completed=share, note=note)
        self._bars.update(self._all, completed=self.share(running), note=self.count())


@contextmanager
def board(jobs: Sequence[Job], seconds: Seconds) -> Iterator[Board]:
    """Bars on a terminal, elsewhere lines."""
    screen = messages()
    if not screen.is_terminal:
        yield _Lines(jobs, seconds, screen)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=screen) as bars:
        yield _Bars(jobs, seconds, bars)
