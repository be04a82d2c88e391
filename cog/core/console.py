"""Output for people: progress bars on a terminal, plain lines elsewhere, tables at the end."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

PLAIN_INTERVAL = 10.0  # s between lines when the output is not a terminal

Advance = Callable[[int, str], None]
Counted = Callable[[int, int], None]


def console() -> Console:
    """The console for results, on standard output."""
    return _plain_console(sys.stdout, stderr=False)


def messages() -> Console:
    """The console for progress and errors, on standard error."""
    return _plain_console(sys.stderr, stderr=True)


def _plain_console(stream: TextIO, stderr: bool) -> Console:
    """A console that shows text as it is: paths may hold [brackets] and :colons:."""
    wrap = not stream.isatty()
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=wrap)


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Yield a function of (done so far, note) that shows rate, time left and the note."""
    began = time.monotonic()
    screen = messages()
    if not screen.is_terminal:
        yield _plain_lines(screen, title, total, unit, began)
        return
    columns = (
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task(title, total=total, rate="", note="")

        def advance(done: int, note: str) -> None:
            rate = done / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=done, rate=f"{rate:.1f} {unit}/s", note=note)

        yield advance


@contextmanager
def counting(title: str, unit: str) -> Iterator[Counted]:
    """Yield a function of (done so far, total), for work whose total is known only once it runs."""
    with ExitStack() as stack:
        advance: Advance | None = None

        def count(done: int, total: int) -> None:
            nonlocal advance
            if advance is None:
                advance = stack.enter_context(progress(title, total, unit))
            advance(done, "")

        yield count


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is left-aligned and the others right-aligned."""
    result = Table(title=title, title_justify="left")
    for number, name in enumerate(header):
        result.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        result.add_row(*row)
    return result


def metrics_note(values: Mapping[str, float], names: Sequence[str]) -> str:
    """The named metrics that are present, in one short line."""
    return "  ".join(f"{name} {values[name]:.3g}" for name in names if name in values)


def _plain_lines(screen: Console, title: str, total: int, unit: str, began: float) -> Advance:
    last = began - PLAIN_INTERVAL

    def advance(done: int, note: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < PLAIN_INTERVAL and done < total:
            return
        last = now
        rate = done / max(now - began, 1e-9)
        left = f", {rate:.1f}/s, {(total - done) / rate:.0f} s left  {note}" if done else ""
        screen.print(f"{title}: {done}/{total} {unit}s{left}", markup=False)

    return advance
