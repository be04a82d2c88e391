"""Relabel: give a dataset rewards by a rule, as a small view file next to its untouched shards.

A view may also select: keep `only` the episodes whose last frame satisfies a rule, as successes do.

A view names the rule (see `cog.datasets.relabel.rules`) and the hash of the rewards that it gave. Rewards are
computed again whenever the data are loaded and must have that hash, so a rule that has changed since is
noticed; so is a classifier that the rule names, by its own hash.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cog.core.files import OTHER_NAME, code_version, hash_json, since
from cog.core.inputs import Input, inputs_from_json, inputs_to_json
from cog.core.options import usable_path
from cog.core.sealed import read_sealed
from cog.datasets.episode import Episode
from cog.datasets.relabel.place import publish_view, seen_from, view_file
from cog.datasets.relabel.request import STORED, refuse_invalid
from cog.datasets.relabel.rules import Rule, parse_rule, reads_signals_alone, relocate, runs_own_code
from cog.datasets.relabel.tally import Tally
from cog.datasets.relabel.terms import RECORDED, ZERO
from cog.datasets.storage.container import is_container, listed, read_bytes
from cog.datasets.storage.dataset import RELABELS, Dataset, open_dataset
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.success import counted_by, kept_success
from cog.errors import CogError, UsageError
from cog.signals.success import FACT

FEW = 0.1  # share of the successes below which a rule hardly rewards what it is meant to
SAME_AGAIN = "let your function give an episode the same rewards each time, without chance or memory"
AGAIN = "relabel the dataset again under a new name"


@dataclass(frozen=True)
class View:
    """A reward rule applied to one dataset, and what it gave."""

    name: str
    """Name of the view."""
    rule: str
    """What gives the rewards (`cog.datasets.relabel.rules`); folders in it are relative to the dataset's."""
    scale: float
    """Factor on the rule's values."""
    terminate: bool
    """Whether the first rewarded step ends its episode; later steps are then left out."""
    dataset_hash: str
    """Identity of the dataset."""
    reward_hash: str
    """Hash of all rewards and terminals."""
    reward_sum: float
    """Sum of all rewards."""
    steps: int
    """Steps that remain."""
    rewarded_steps: int
    """Remaining steps on which the rule is positive."""
    episodes_rewarded: int
    """Episodes that have such a step."""
    only: str | None = None
    """Rule that the last frame of an episode must satisfy for the view to keep it. Default: all are kept."""
    episodes: int | None = None
    """Episodes kept; None if the view keeps all."""
    ended: int | None = None
    """Episodes whose last step is terminal because the environment ended them, and not by the rule.

    None if there are none; also in views of earlier versions, whose ends without a reward were not terminal.
    """
    inputs: tuple[Input, ...] = ()
    """What else on disk its rules were read from, such as a classifier."""
    unended: int = field(default=0, compare=False)
    """Episodes that this view of an earlier version does not end; known where it was asked for again."""
    successes: int = field(default=0, compare=False)
    """Kept episodes that count as successes; known where the rule has just been applied."""
    successes_rewarded: int = field(default=0, compare=False)
    """Those of them that have a rewarded step."""
    cut: bool = field(default=False, compare=False)
    """Whether the dataset was collected with episodes that end at their first success; known likewise."""

    def to_json(self) -> dict[str, Any]:
        """The view as JSON values; fields that are None are left out, as in earlier versions."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.compare}
        values["inputs"] = inputs_to_json(self.inputs) or None
        return {name: value for name, value in values.items() if value is not None}

    def hash(self) -> str:
        """Identity of the view."""
        return hash_json(self.to_json())

    def __str__(self) -> str:
        if self.rule == STORED:
            return f"view '{self.name}': the rewards in the shards, {self.steps} steps"
        end = "ending their episodes" if self.terminate else "persistent"
        ended = "" if self.ended is None else f"; the environment itself ended {self.ended} episodes"
        kept = "" if self.only is None else f"; only the {self.episodes} episodes that end in {self.only}"
        return (
            f"view '{self.name}': rule {self.rule}, {self.rewarded_steps} rewarded steps ({end}) in "
            f"{self.episodes_rewarded} episodes, {self.steps} steps, "
            f"reward sum {self.reward_sum:g}{kept}{ended}"
        )

    def remarks(self, steps: int) -> list[str]:
        """What someone who labels a dataset of so many `steps` may not have meant."""
        found = []
        if self.unended:
            found.append(
                "this view stays as an earlier version made it: the last step is not terminal in "
                f"{self.unended} episodes that the environment ended; in a view of another name it is"
            )
        if self.terminate and self.only is None and self.steps < steps:
            found.append(
                f"{self.steps} of {steps} steps are kept, because the first positive reward ends its "
                "episode; --no-terminate keeps all"
            )
        if self.rule not in ("zero", STORED) and (few := self._few()):
            takes = "takes no frame" if self.rewarded_steps == 0 else "takes few frames"
            why = ""
            if "classifier" in self.rule:
                why = f"; the classifier {takes} for a success; see its recall in classifier.json"
            elif self.cut and self.rule != RECORDED:
                why = (
                    "; a rule that looks past an episode's first success needs data that go on after it: "
                    "cog collect --no-terminate-on-success, with a behaviour's hold, as in grasp:hold=12"
                )
            found.append(f"{few}{why}")
        return found

    def _few(self) -> str:
        """That next to none of the successes have a reward, with the counts; empty if that is not so."""
        of = f"of {self.successes} episodes that count as successes"
        if self.rewarded_steps == 0:
            if self.reward_sum != 0:  # it pays by other signs than a success, such as a negative distance
                return ""
            return "no step has a reward" + (f", none {of}" if self.successes else "")
        if self.successes_rewarded < FEW * self.successes:
            return f"only {self.successes_rewarded} {of} have a reward"
        return ""


def relabel(
    dataset_path: Path | str,
    rule: str,
    name: str,
    *,
    scale: float = 1.0,
    terminate: bool = True,
    only: str | None = None,
    out: Path | str | None = None,
) -> View:
    """Apply a rule to a dataset and write the view `relabels/<name>.json`.

    Args:
        dataset_path: folder of the dataset.
        rule: what gives the rewards (`rules`); folders in it are relative to the current one.
        name: name of the view.
        scale: factor on the rule's values.
        terminate: whether the first rewarded step ends its episode.
        only: rule that the last recorded frame of an episode must satisfy for the view to keep it.
        out: another folder for the view, for a dataset that cannot be written; it is used as `out`@`name`.
            Default: the dataset's own.

    Raises:
        UsageError: the rule, name or scale is invalid, or the rule looks beyond the end that it sets.
        CogError: a rule fails on an episode, `only` keeps none, or a different view of that name exists;
            nothing is written.
    """
    refuse_invalid(rule, name, scale, terminate)
    dataset = open_dataset(dataset_path)
    if out is not None:
        dataset = seen_from(usable_path(out), dataset)
    if is_container(dataset.place) and name not in view_names(dataset):
        raise CogError(
            "a packed dataset cannot get new views",
            where=dataset_path,
            remedy="unpack it with cog unpack, then relabel the folder; or write the view elsewhere: --out",
        )
    here = Path()
    rule = relocate(rule, here, dataset.place)
    only = None if only is None else relocate(only, here, dataset.place)
    rules = Rules.of(dataset, rule, only)
    if terminate and rules.reward.looks_ahead:
        raise UsageError(
            "to_go counts the steps that an end would cut off",
            where=f"reward rule '{rule}'",
            remedy="do not terminate episodes: pass --no-terminate",
        )
    blank = View(
        name, rule, float(scale), terminate, dataset.hash, "", 0.0, 0, 0, 0, only, inputs=rules.inputs
    )
    tally = Tally()
    for _ in _apply(dataset, blank, rules, tally, ends=True):
        pass
    cut = dataset.environment.get("terminate_on_success") is True  # a collection says it alone
    view = replace(_complete(blank, tally), cut=cut)
    if view.episodes == 0:
        raise CogError(
            f"none of its {dataset.episode_count} episodes ends in '{only}'; nothing was written",
            where=dataset.path,
            remedy="choose another rule or collect more episodes",
        )
    publish_view(dataset, name, {"code_version": code_version(), **view.to_json()})
    path, existing = view_file(dataset, name), open_view(dataset, name)
    if existing.ended is None and view.ended is not None:  # it may be of an earlier version
        tally = Tally()
        for _ in _apply(dataset, blank, rules, tally, ends=False):
            pass
        view = replace(_complete(blank, tally), unended=view.ended, cut=cut)
    if existing != view:
        raise CogError(f"{path} exists already with other content{since(path)}", remedy=OTHER_NAME)
    return view


def view_names(dataset: Dataset) -> list[str]:
    """Names of the views of a dataset, `stored` among them if its shards hold rewards."""
    stored = [STORED] if dataset.materialised else []
    files = (path for path in listed(dataset.place / RELABELS) if path.suffix == ".json")
    return stored + [path.stem for path in files if not path.name.startswith(".")]


def open_view(dataset: Dataset, name: str | None = None) -> View:
    """The view of that name, or the only one there is.

    Raises:
        CogError: the view does not exist, is not the only one, belongs to another dataset or is malformed.
    """
    names = view_names(dataset)
    there = f"use one of its views, as FOLDER@VIEW: {', '.join(names)}"
    remedy = there if names else "make one with cog relabel"
    if name is None:
        if len(names) != 1:
            what = "it has several reward views" if names else "it has no reward view"
            raise CogError(what, where=dataset.place, remedy=remedy)
        name = names[0]
    if name not in names:
        raise CogError(f"there is no view '{name}'", where=dataset.place, remedy=remedy)
    if name == STORED:
        return View(STORED, STORED, 1.0, False, dataset.hash, dataset.hash, 0.0, dataset.step_count, 0, 0)
    path = view_file(dataset, name)
    value = read_sealed(path, "relabel", "a reward view", AGAIN, read_bytes)
    value.pop("code_version", None)  # who wrote it is not part of what it is
    fields = {item.name: item.type for item in dataclasses.fields(View) if item.compare}
    fields |= {"only": str, "episodes": int, "inputs": list, "ended": int}
    absent = (set() if "only" in value else {"only", "episodes"}) | ({"inputs", "ended"} - value.keys())
    wanted = fields.keys() - absent
    for key, kind in fields.items():
        accepted = (int, float) if kind is float else (kind,)
        if key in wanted and (key not in value or type(value[key]) not in accepted):
            raise DataError(Problem(path, key, f"must be present, of type {kind}", AGAIN))
    if value.keys() != wanted:
        raise DataError(Problem(path, "keys", f"unknown: {', '.join(value.keys() - wanted)}", AGAIN))
    try:
        view = View(**value | {"inputs": inputs_from_json(value.get("inputs", []))})
    except (KeyError, TypeError) as error:
        rule = f"each must hold kind, path and hash ({error!r})"
        raise DataError(Problem(path, "inputs", rule, AGAIN)) from error
    if view.name != name or view.dataset_hash != dataset.hash:
        rule = "the view belongs to another dataset or name"
        raise DataError(Problem(path, "dataset_hash", rule, AGAIN))
    return view


def labelled(dataset: Dataset, view: View, pictures: bool = True) -> Iterator[Episode]:
    """Episodes with `rewards` and `terminals`, cut after the first terminal step where the view says so.

    One that is cut counts as a success by its kept frames (`cog.datasets.success.kept_success`). Those that
    the view does not keep are left out. Without `pictures` only a rule that looks at images reads
    them.

    Raises:
        CogError: a classifier in the rule has changed, the rule fails, or it gives other rewards than when
            the view was written; the last is known only after the last episode.
    """
    if view.rule == STORED:
        yield from dataset.episodes(pictures)
        return
    rules = Rules.of(dataset, view.rule, view.only)
    if [entry.hash for entry in view.inputs] != [entry.hash for entry in rules.inputs]:
        found = ", ".join(f"{entry.kind} {entry.path}" for entry in rules.inputs)
        rule = f"{found or 'what its rule was read from'} is not what it was when the view was written"
        raise DataError(Problem(view_file(dataset, view.name), "inputs", rule, AGAIN))
    tally = Tally()
    yield from _apply(dataset, view, rules, tally, ends=view.ended is not None, pictures=pictures)
    if _complete(view, tally) != view:
        rule = f"rule {view.rule} now gives other rewards than when the view was written"
        own = any(runs_own_code(text) for text in (view.rule, view.only or ZERO))
        remedy = f"{SAME_AGAIN}, then {AGAIN}" if own else AGAIN
        raise DataError(Problem(view_file(dataset, view.name), "reward_hash", rule, remedy))


def count_ending_in(dataset: Dataset, rule: str) -> int:
    """Number of episodes whose last frame satisfies a rule.

    Raises:
        UsageError: the rule cannot be read.
        CogError: it fails on an episode.
    """
    ending = rule_for(dataset, rule)
    episodes = dataset.episodes(pictures=not reads_signals_alone(rule))
    return sum(bool(ending(episode, number)[-1] > 0) for number, episode in enumerate(episodes))


def rule_for(dataset: Dataset, text: str) -> Rule:
    """The rule over the signals of a dataset; folders in it are relative to the current one.

    Raises:
        UsageError: the rule cannot be read.
        CogError: a folder that it names holds nothing of the kind.
    """
    return _parsed(dataset, text, Path())


@dataclass(frozen=True)
class Rules:
    """The rules of a view."""

    reward: Rule
    """Gives the rewards."""
    only: Rule | None
    """Must hold at the last frame of an episode to keep it. Default: all are kept."""

    @staticmethod
    def of(dataset: Dataset, reward: str, only: str | None) -> "Rules":
        """Rules as a view of the dataset names them."""
        base = dataset.place
        return Rules(_parsed(dataset, reward, base), None if only is None else _parsed(dataset, only, base))

    @property
    def look_at_pictures(self) -> bool:
        """Whether one of them may look at images."""
        return not all(reads_signals_alone(rule.text) for rule in (self.reward, self.only) if rule)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What on disk they were read from."""
        return tuple(dict.fromkeys([*self.reward.inputs, *(self.only.inputs if self.only else ())]))


def _parsed(dataset: Dataset, text: str, base: Path) -> Rule:
    """A rule over a dataset; where that records how it counts successes, `recorded_success` follows."""
    by = counted_by(dataset.environment) if FACT in dataset.environment else "any"
    return parse_rule(text, dataset.signal_names, base, by)


def _apply(
    dataset: Dataset, view: View, rules: Rules, tally: Tally, *, ends: bool, pictures: bool = False
) -> Iterator[Episode]:
    """Compute rewards and terminals episode by episode; `ends` as `Episode.ending` explains it."""
    for number, episode in enumerate(dataset.episodes(pictures or rules.look_at_pictures)):
        if rules.only is not None and not rules.only(episode, number)[-1] > 0:
            continue
        values = rules.reward(episode, number)
        where = f"reward rule '{view.rule}', episode {number}"
        rewarded = pay(episode, values, view.scale, where, terminate=view.terminate, ends=ends)
        assert rewarded.terminals is not None
        hits = values[: len(rewarded)] > 0
        ended = bool(rewarded.terminals[-1]) and not (view.terminate and bool(hits[-1]))
        tally.add(rewarded, hits, ended)  # whose successes are those of whole episodes
        if len(rewarded) < len(episode):
            rewarded = replace(rewarded, success=kept_success(rewarded, dataset.environment))
        yield rewarded


def _complete(view: View, tally: Tally) -> View:
    """The view with what its rule gave."""
    return replace(view, **tally.totals(selects=view.only is not None))


def pay(
    episode: Episode, values: np.ndarray, scale: float, where: str, *, terminate: bool, ends: bool = True
) -> Episode:
    """An episode with rewards and terminals.

    Args:
        episode: T steps.
        values: (T,) what a rule gave them.
        scale: factor on the values.
        where: what the values are of, for messages.
        terminate: whether the first positive value ends the episode.
        ends: as `Episode.ending` explains it.

    Raises:
        CogError: a reward is too large.
    """
    episode = episode.ending(values > 0, terminate=terminate, ends=ends)
    with np.errstate(over="ignore"):  # what is not finite is refused
        rewards = (values[: len(episode)] * scale).astype(np.float32)
    if not np.isfinite(rewards).all():
        step = int(np.flatnonzero(~np.isfinite(rewards))[0])
        raise CogError(
            f"{values[step]:g} at step {step}, times scale {scale:g}, is too large for float32",
            where=where,
            remedy="use a smaller scale or rule",
        )
    return replace(episode, rewards=rewards)
