"""Filter: a new dataset of the episodes that satisfy rules on signals, names, outcome and length."""

from collections.abc import Iterable
from pathlib import Path

from cog.datasets.edit.config import FilterConfig
from cog.datasets.edit.subset import OnProgress, write_subset
from cog.datasets.episode import Episode
from cog.datasets.relabel.rules import reads_signals_alone
from cog.datasets.relabel.view import rule_for
from cog.datasets.storage.dataset import Dataset, open_dataset
from cog.datasets.success import counts
from cog.errors import CogError, UsageError


def filter_dataset(
    path: Path, out: Path, wanted: FilterConfig, on_progress: OnProgress | None = None
) -> Dataset:
    """Copy the episodes that are wanted into a new dataset; `on_progress` gets how many were judged.

    Raises:
        UsageError: nothing is asked for, or a rule, behaviour or start does not exist.
        CogError: no episode is wanted, a rule fails on one, or the data are damaged; nothing is written.
    """
    if not wanted.to_json():
        raise UsageError(
            "every episode would be kept",
            remedy="say which to keep, such as --ends-in grasp_success or --min-length 10",
        )
    dataset = open_dataset(path)
    numbers = select(dataset, wanted, on_progress)
    if not numbers:
        raise CogError(
            f"none of its {dataset.episode_count} episodes is as asked for, {wanted}; nothing was written",
            where=path,
            remedy="ask for less, or see with cog info what there is",
        )
    return write_subset(dataset, numbers, out, {"kind": "filtered", **wanted.to_json()})


def select(dataset: Dataset, wanted: FilterConfig, on_progress: OnProgress | None = None) -> list[int]:
    """Numbers of the episodes that are wanted.

    Raises:
        UsageError: a rule, behaviour or start does not exist.
        CogError: a rule fails on an episode, or a shard is damaged.
    """
    rules = {name: rule_for(dataset, name) for name in (*wanted.ends_in, *wanted.reaches)}
    behaviours: set[str] = set()
    starts: set[str] = set()

    def succeeds(episode: Episode) -> bool:
        return counts(episode, wanted.success_by, dataset.environment)

    def keeps(episode: Episode, number: int) -> bool:
        holds = {name: rule(episode, number) > 0 for name, rule in rules.items()}
        return (
            all(holds[name][-1] for name in wanted.ends_in)
            and all(holds[name].any() for name in wanted.reaches)
            and (not wanted.behaviour or episode.behaviour in wanted.behaviour)
            and (not wanted.start or episode.start in wanted.start)
            and (wanted.success == "any" or (wanted.success == "true") == succeeds(episode))
            and (wanted.min_length is None or len(episode) >= wanted.min_length)
            and (wanted.max_length is None or len(episode) <= wanted.max_length)
        )

    numbers = []
    seen = not all(reads_signals_alone(name) for name in rules)
    for number, episode in enumerate(dataset.episodes(pictures=seen)):
        behaviours.add(episode.behaviour)
        starts.add(episode.start)
        if keeps(episode, number):
            numbers.append(number)
        if on_progress is not None:
            on_progress(number + 1, dataset.episode_count)
    _check_known("behaviour", wanted.behaviour, behaviours)
    _check_known("start", wanted.start, starts)
    return numbers


def _check_known(what: str, names: Iterable[str], known: set[str]) -> None:
    """Refuse a name that no episode has: it is misspelt rather than meant."""
    for name in names:
        if name not in known:
            raise UsageError(f"no episode has the {what} {name!r}; there are: {', '.join(sorted(known))}")
