"""Output for people: progress bars on a terminal, plain lines elsewhere, tables at the end."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderResult
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

LEGIBLE = 8  # characters that a column of a table has at least, if its cells have so many
BESIDE = 4  # characters of lines and blanks at most beside those of a column
PLAIN_INTERVAL = 10.0  # s between lines when the output is not a terminal

Advance = Callable[[int, str], None]


class Counted(Protocol):
    """Told how much is done, of how much, and a note."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def console() -> Console:
    """The console for results, on standard output."""
    return _plain_console(sys.stdout, stderr=False)


def messages() -> Console:
    """The console for progress and errors, on standard error."""
    return _plain_console(sys.stderr, stderr=True)


class _Plain(Console):
    """A console that cuts no table, and leaves it to the program what happens where nobody reads any more."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, but cut no table that is wider than a terminal: that breaks its lines."""
        if any(isinstance(one, Table | Group) for one in objects):
            options.setdefault("crop", False)
        super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        """Let the error pass; rich would end the program itself."""
        raise


def _plain_console(stream: TextIO, stderr: bool) -> Console:
    """A console that shows text as it is: paths may hold [brackets] and :colons:."""
    wrap = not stream.isatty()
    return _Plain(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=wrap)


class Display:
    """Work in progress, a line for each piece; this one shows nothing."""

    def show(self, title: str, done: float, total: float, note: str) -> None:
        """A piece has come so far; it appears with its first call."""

    def drop(self, title: str) -> None:
        """A piece has ended and needs no line any more."""

    def refresh(self) -> None:
        """All pieces are as they stand; called after some `show`."""

    def say(self, text: str) -> None:
        """Tell a sentence, where no bars are seen."""


class _Bars(Display):
    """Bars on a terminal."""

    def __init__(self, screen: Progress) -> None:
        self._screen = screen
        self._tasks: dict[str, TaskID] = {}

    def show(self, title: str, done: float, total: float, note: str) -> None:
        if title not in self._tasks:
            self._tasks[title] = self._screen.add_task(title, total=total, note="")
        self._screen.update(self._tasks[title], completed=done, total=total, note=note)

    def drop(self, title: str) -> None:
        if title in self._tasks:
            self._screen.remove_task(self._tasks.pop(title))


class _Lines(Display):
    """For logs: all pieces in one line, every `PLAIN_INTERVAL` seconds at most, and when one is complete."""

    def __init__(self, screen: Console, first: bool) -> None:
        self._screen = screen
        self._pieces: dict[str, tuple[float, float, str]] = {}
        self._last = time.monotonic() - (PLAIN_INTERVAL if first else 0)

    def show(self, title: str, done: float, total: float, note: str) -> None:
        self._pieces[title] = (done, total, note)

    def drop(self, title: str) -> None:
        self._pieces.pop(title, None)

    def refresh(self) -> None:
        now = time.monotonic()
        complete = all(done >= total for done, total, _ in self._pieces.values())
        if self._pieces and (complete or now - self._last >= PLAIN_INTERVAL):
            self._last = now
            self._screen.print("; ".join(f"{title}: {note}" for title, (_, _, note) in self._pieces.items()))

    def say(self, text: str) -> None:
        self._screen.print(text)


@contextmanager
def display(first: bool = False) -> Iterator[Display]:
    """Bars on a terminal, lines elsewhere; there `first` shows the first call at once."""
    screen = messages()
    if not screen.is_terminal:
        yield _Lines(screen, first)
        return
    columns = (
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=screen) as bars:
        yield _Bars(bars)


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Yield a function of (done so far, note) that shows rate, time left and the note."""
    with display(first=True) as shown:
        yield advancing(shown, title, total, unit)


def advancing(shown: Display, title: str, total: int, unit: str) -> Advance:
    """A function of (done so far, note) that shows one piece of work with its rate and time left."""
    count = _counted(shown, title, unit)
    return lambda done, note: count(done, total, note)


@contextmanager
def counting(title: str, unit: str) -> Iterator[Counted]:
    """Yield a function of (done so far, total, note), for work whose total is known only once it runs."""
    with display(first=True) as shown:
        yield _counted(shown, title, unit)


def _counted(shown: Display, title: str, unit: str) -> Counted:
    """A function of (done so far, total, note) that shows one piece of work with its rate and time left."""
    began = time.monotonic()

    def count(done: int, total: int, note: str = "") -> None:
        rate = done / max(time.monotonic() - began, 1e-9)
        pace = f", {rate:.1f}/s, {(total - done) / rate:.0f} s left  {note}" if done else ""
        shown.show(title, done, total, f"{done}/{total} {unit}s{pace}")
        shown.refresh()

    return count


class _Whole(Table):
    """A table that keeps the least width of its columns, however narrow the output; rich would drop some."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        least = sum((column.min_width or 1) + BESIDE for column in self.columns)
        yield from super().__rich_console__(console, options.update(max_width=max(options.max_width, least)))


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is left-aligned and the others right-aligned; no word is cut off.

    Long words are broken where the output is narrow; where it is too narrow for that, the table is wider.
    """
    result = _Whole(title=title, title_justify="left")
    for number, cells in enumerate(zip(header, *rows, strict=True)):
        justify: JustifyMethod = "left" if number == 0 else "right"
        result.add_column(cells[0], justify=justify, overflow="fold", min_width=_least(cells))
    for row in rows:
        result.add_row(*row)
    return result


def listing(names: Mapping[str, str]) -> Table:
    """Names, each with what it is beside it and two blanks before it; treated as `table` treats its cells."""
    result = _Whole.grid(padding=(0, 2))
    rows = [(f"  {name}", said) for name, said in names.items()]
    for cells in zip(*rows, strict=True):
        result.add_column(overflow="fold", min_width=_least(cells))
    for row in rows:
        result.add_row(*row)
    return result


def _least(cells: Sequence[str]) -> int:
    """Characters below which a column of these cells is not legible."""
    return min(LEGIBLE, max(cell_len(line) for cell in cells for line in cell.splitlines() or [""]))


def metrics_note(values: Mapping[str, float], names: Sequence[str]) -> str:
    """The named metrics that are present, in one short line."""
    return "  ".join(f"{name} {values[name]:.3g}" for name in names if name in values)
