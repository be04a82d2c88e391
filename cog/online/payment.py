"""How online steps are paid: as the offline data are, by a reward at success or by the rule of their task.

Data whose only reward comes on the step that ends an episode in success need no rule: an online episode ends
at success, too, and earns that reward there. All other rewards, such as a distance, or one for a success that
lasts for some steps, are computed from the signals of the online episode by the rule of the task's view,
which also ends it where it ended the data.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cog.datasets.collection.recorder import Recorder
from cog.datasets.episode import Episode
from cog.datasets.merge import Merge, Source
from cog.datasets.relabel.request import STORED
from cog.datasets.relabel.rules import Rule, asks_to_last, parse_rule, reads_signals_alone
from cog.datasets.relabel.view import pay
from cog.envs.make import Scene, make_environment
from cog.errors import CogError
from cog.replay.buffer import Buffer


class Payment(Protocol):
    """Pays finished online episodes."""

    @property
    def at_success(self) -> bool:
        """Whether an episode ends at its first success, even if the environment would go on."""

    def __call__(self, recorder: Recorder, episode: Episode) -> Episode:
        """The episode that was recorded, with rewards (T,) and terminals (T,)."""


@dataclass(frozen=True)
class AtSuccess:
    """One reward, on the step that ends the episode in success."""

    reward: float
    """The reward."""
    at_success = True

    def __call__(self, recorder: Recorder, episode: Episode) -> Episode:
        """The episode with that reward if it succeeded."""
        last = np.arange(len(episode)) == len(episode) - 1
        rewards = np.where(last & recorder.success, self.reward, 0.0).astype(np.float32)
        return replace(episode.ending(last & recorder.success, terminate=True), rewards=rewards)


@dataclass(frozen=True)
class ByRule:
    """A reward on every step, by the rule of the task's view; the environment says where episodes end."""

    rule: Rule
    """The rule, over the signals of the scene, the environment's own `reward` and its `success`."""
    scale: float
    """Factor on its values."""
    terminate: bool
    """Whether the first positive value ends an episode."""
    at_success = False

    def __call__(self, recorder: Recorder, episode: Episode) -> Episode:
        """The episode with what the rule gives.

        Raises:
            CogError: the rule fails on it.
        """
        own = {"reward": np.array([0.0, *recorder.rewards]), "success": np.array(recorder.successes)}
        own = {name: values.astype(np.float32) for name, values in own.items()}
        judged = replace(episode, signals={**own, **episode.signals})
        where = f"reward rule '{self.rule.text}', online episode with seed {episode.seed}"
        paid = pay(judged, self.rule(judged, 0), self.scale, where, terminate=self.terminate)
        return replace(paid, signals={name: paid.signals[name] for name in episode.signals})


def payment_of(offline: Buffer, merge: Merge, scene: Scene) -> Payment:
    """How online steps in a scene are paid, so that they are worth what those of the data are.

    Raises:
        CogError: the data pay nothing, or not by one rule that the scene's signals can be judged by.
    """
    paid = offline.rewards != 0
    if not bool(paid.any()):
        raise CogError(
            "no step is rewarded, so there is no reward to fine-tune on",
            where=merge.path,
            remedy="relabel the task",
        )
    tasks = [source for source in merge.sources if source.role == "task"]
    once = bool((offline.rewards[paid] > 0).all() & offline.terminals[paid].all())
    if once and not any(asks_to_last(_text_of(source)) for source in tasks):
        return AtSuccess(float(offline.rewards.max()))
    rules = {_rule_of(source, merge.path) for source in tasks}
    if len(rules) > 1:
        raise CogError(
            "its task sources are rewarded by different rules, so that an online step has no one reward",
            where=merge.path,
            remedy="merge views by one rule and scale",
        )
    (text, scale, terminate, base), *_ = rules
    env = make_environment(scene)
    try:
        names = tuple(dict.fromkeys([*env.unwrapped.signal_names, "reward", "success"]))
    finally:
        env.close()
    return ByRule(parse_rule(text, names, base), scale, terminate)


def _text_of(source: Source) -> str:
    """The rule that rewarded a source as it was written; empty if that is not known."""
    if source.view.rule != STORED:
        return source.view.rule
    kept: Any = source.dataset.spec.get("view")
    return str(kept.get("rule", "")) if isinstance(kept, dict) else ""


def _rule_of(source: Source, path: Path) -> tuple[str, float, bool, Path]:
    """Rule, scale and `terminate` of a source's rewards, and the folder that names in the rule start from.

    Raises:
        CogError: its rewards are stored, and the rule that gave them is not known or cannot be applied.
    """
    view, dataset = source.view, source.dataset
    if view.rule != STORED:
        alone = reads_signals_alone(view.rule)  # names no folder, so that it is the same wherever it lies
        return view.rule, view.scale, view.terminate, Path() if alone else dataset.place
    kept: Any = dataset.spec.get("view")
    if isinstance(kept, dict) and reads_signals_alone(str(kept.get("rule"))):
        return str(kept["rule"]), float(kept["scale"]), bool(kept["terminate"]), Path()
    raise CogError(
        f"the rewards of {dataset.path} are stored, without a rule that gives those of online steps",
        where=path,
        remedy="fine-tune on the view that they were copied from",
    )
