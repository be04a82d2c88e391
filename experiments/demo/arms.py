"""Train several arms side by side, one process and one thread each, and show how far each has come."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, wait
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cog.core.console import PLAIN_INTERVAL, messages, metrics_note
from cog.core.workers import processes
from cog.errors import CogError
from cog.training import checkpoint
from cog.training.config import TrainConfig
from cog.training.train import train

POLL = 1.0  # s between two looks at the arms' metrics
NOTE = ("td_loss", "q_data", "log_likelihood")

Show = Callable[[str, int, str], None]
"""Called with an arm, its updates done and a note on its metrics."""


def train_arms(runs: Mapping[str, TrainConfig]) -> None:
    """Train every arm to its last update, all at the same time; finished arms stay.

    Arms may outnumber cores: they take turns, and no core idles while the longest ones end.

    Raises:
        CogError: an arm failed, naming it; the others are stopped and saved.
    """
    missing = {arm: run for arm, run in runs.items() if not is_finished(run)}
    if not missing:
        return
    with (
        _bars({arm: run.updates for arm, run in runs.items()}) as show,
        processes(len(missing)) as pool,
    ):
        waiting = {pool.submit(train_arm, arm, run) for arm, run in missing.items()}
        while waiting:
            done, waiting = wait(waiting, timeout=POLL, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            for arm, run in runs.items():
                update, metrics = latest_metrics(run.out)
                show(arm, update, metrics_note(metrics, NOTE))


def train_arm(arm: str, run: TrainConfig) -> None:
    """Train one arm in this process, from its last checkpoint if it has one."""
    try:
        train(run, resume=True)
    except CogError as error:
        raise CogError(f"arm {arm}: {error}") from None


def is_finished(run: TrainConfig) -> bool:
    """Whether the run's last checkpoint is that of its last update."""
    root = run.out / "checkpoints"
    return (root / "latest.json").exists() and checkpoint.load(root).update == run.updates


def latest_metrics(folder: Path) -> tuple[int, dict[str, float]]:
    """The last complete line of a run's metrics and its update; 0 and nothing before the first."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    if not lines:
        return 0, {}
    metrics = json.loads(lines[-1])
    return int(metrics["update"]), metrics


@contextmanager
def _bars(totals: Mapping[str, int]) -> Iterator[Show]:
    """A bar for each arm on a terminal, elsewhere one line for all every few seconds."""
    screen = messages()
    if not screen.is_terminal:
        yield _plain_lines(totals)
        return
    columns = (
        TextColumn("[bold]train {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=screen) as progress:
        tasks = {arm: progress.add_task(arm, total=total, rate="", note="") for arm, total in totals.items()}
        pace = _Pace(totals)

        def show(arm: str, done: int, note: str) -> None:
            progress.update(tasks[arm], completed=done, rate=pace.tell(arm, done), note=note)

        yield show


def _plain_lines(totals: Mapping[str, int]) -> Show:
    """Lines for logs: all arms in one, at most every `PLAIN_INTERVAL` seconds and at the end."""
    screen = messages()
    states: dict[str, str] = {}
    done_by_arm = dict.fromkeys(totals, 0)
    pace = _Pace(totals)
    last = 0.0
    ended = False

    def show(arm: str, done: int, note: str) -> None:
        nonlocal last, ended
        states[arm] = f"{arm} {done}/{totals[arm]} {pace.tell(arm, done)}"
        done_by_arm[arm] = done
        complete = done_by_arm == dict(totals)
        due = time.monotonic() - last >= PLAIN_INTERVAL and len(states) == len(totals)
        if (due and not ended) or (complete and not ended):
            last, ended = time.monotonic(), complete
            screen.print("train: " + "; ".join(states.values()))

    return show


class _Pace:
    """Updates per second and seconds left of each arm since it was first seen to move."""

    def __init__(self, totals: Mapping[str, int]) -> None:
        self._totals = totals
        self._first: dict[str, tuple[float, int]] = {}

    def tell(self, arm: str, done: int) -> str:
        if done == 0:
            return "waiting"
        if done == self._totals[arm]:
            return "done"
        began, first = self._first.setdefault(arm, (time.monotonic(), done))
        rate = (done - first) / max(time.monotonic() - began, 1e-9)
        if rate <= 0:
            return "started"
        return f"{rate:.1f}/s, {(self._totals[arm] - done) / rate:.0f} s left"
