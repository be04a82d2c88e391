"""Run a policy in groups of episodes that share batches, with the same results in any process.

Episode i of a start always occupies row i mod B of a batch of B rows, whether or not the other rows are in
use: floating-point results may depend on the size of a batch and on the row, but not on the other rows.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from cog.datasets.collection.recorder import Recorder
from cog.envs.make import Environments, Scene, make_environment
from cog.errors import CogError
from cog.evaluation.memory import Memory
from cog.evaluation.policy import Policy, Seen
from cog.evaluation.prediction import Payment
from cog.networks.history import History
from cog.signals.stages import furthest_stage

_CANDIDATE_STREAM = 5  # other streams of the same seed: see cog.online.explore
_EVALUATION_STREAM = 2  # without it, episodes would start like those collected with the same seed

Act = Callable[[Seen | None, np.ndarray, np.ndarray], np.ndarray]
"""Actions (B, A) for images (B, H, W, C) uint8 or None, poses (B, P) and standard normal noise (B, K, D)."""


@dataclass(frozen=True)
class Group:
    """Episodes of one start that share batches."""

    start: str
    """Start of all of them."""
    numbers: tuple[int, ...]
    """Number of each episode."""
    seeds: tuple[int, ...]
    """Seed of each episode."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome of one episode."""

    number: int
    """Number of the episode, the same for every start and policy."""
    seed: int
    """`env.reset(seed=...)` with this seed and the start repeats the initial state."""
    start: str
    """Start of the episode."""
    success: bool
    """Whether the environment reported success at any step."""
    success_last: bool
    """Whether it did so at the last step."""
    steps: int
    """Number of steps."""
    total: float
    """Sum of the environment's rewards."""
    furthest: str
    """Furthest stage that was reached, see `cog.signals.stages`."""
    actions: np.ndarray
    """(T, A) float32, from which the episode can be replayed."""
    predicted: float | None = None
    """Value of the first step by the critics, if there are any."""
    discounted: float | None = None
    """Discounted return that the episode had, see `cog.evaluation.prediction`."""


def episode_seeds(seed: int, episodes: int) -> list[int]:
    """The episode seeds that follow from `seed`; a longer list begins with the shorter one."""
    sequences = (
        np.random.SeedSequence([seed, number], spawn_key=(_EVALUATION_STREAM,)) for number in range(episodes)
    )
    return [int(sequence.generate_state(1)[0]) for sequence in sequences]


def act_side_by_side(
    environments: Environments,
    group: Group,
    act: Act,
    draws: int,
    stream: int,
    *,
    noise_dimensions: int | None = None,
    history: History | None = None,
    keep_observations: bool = False,
    end_at_success: bool = False,
) -> list[Recorder]:
    """Run a group of at most B episodes to their ends; the policy acts on one batch of B rows per step.

    Args:
        environments: one for each row; episode i acts in row i mod B.
        group: the episodes.
        act: the policy. Rows without a running episode keep their previous content.
        draws: K, the number of noise draws (D,) per episode and step.
        stream: separates the noise of an episode from other draws that follow from its seed.
        noise_dimensions: D. Default: the number of action components.
        history: what the policy sees beside the current frame.
        keep_observations: whether the recorders keep every observation.
        end_at_success: whether an episode ends at its first success even if the environment continues.

    Returns:
        The finished episodes, in the order of the group.
    """
    rows, scene = environments.rows, environments.scene
    running: dict[int, Recorder] = {}
    generators: dict[int, np.random.Generator] = {}
    for number, seed in zip(group.numbers, group.seeds, strict=True):
        env = environments.env(number % rows)
        running[number % rows] = Recorder(env, seed, group.start, keep_observations=keep_observations)
        generators[number % rows] = np.random.default_rng([seed, stream])
    episodes = list(running.values())
    memory = Memory(rows, history)
    numbers = noise_dimensions or int(np.prod(episodes[0].env.action_space.shape))
    noise = np.zeros((rows, draws, numbers), np.float32)
    while running:
        for row, episode in running.items():
            noise[row] = generators[row].standard_normal(noise.shape[1:], np.float32)
            shown = {name: seen for name, seen in episode.observation.items() if name != scene.pose}
            led = episode.actions[-1] if episode.actions else None
            memory.see(row, shown, episode.observation[scene.pose], led)
        poses = memory.poses
        assert poses is not None
        with _frame_named(scene.env, running):
            actions = act(memory.images or None, poses, noise)
        for row, episode in list(running.items()):
            episode.step(actions[row])
            if episode.over or (end_at_success and episode.success):
                del running[row]
    return episodes


@contextmanager
def _frame_named(env: str, running: Mapping[int, Recorder]) -> Iterator[None]:
    """Say at which frame, and with which seeds in which rows of the batch, a policy failed."""
    try:
        yield
    except CogError as error:
        if error.where is not None:
            raise
        frame = max(len(episode) for episode in running.values())
        seeds = ", ".join(f"{episode.seed} in row {row}" for row, episode in sorted(running.items()))
        where = f"{env}, frame {frame} of the episodes with seeds {seeds}"
        raise CogError(error.what, where=where, remedy=error.remedy) from error


class Fleet(Environments):
    """A policy and B environments in this process; call `close` at the end."""

    def __init__(
        self,
        checkpoint: Path,
        scene: Scene,
        rows: int,
        acting: str = "mode",
        candidates: int = 8,
        payment: Payment | None = None,
    ) -> None:
        """`acting` and `candidates` as `cog.evaluation.config` explains them.

        With a `payment` the critics predict every episode's return, to be compared with what it is paid.
        """
        super().__init__(scene, rows)
        self.policy = Policy.load(checkpoint, critics=acting == "critic" or payment is not None)
        self.acting = acting
        self.payment = payment
        self.draws = {"mode": 0, "sample": 1, "critic": candidates}[acting]

    def roll(self, group: Group) -> list[Outcome]:
        """Run the episodes of a group to their ends."""
        predicted: list[np.ndarray] = []  # (B,), at the first step, which all episodes take together

        def act(images: Seen | None, poses: np.ndarray, noise: np.ndarray) -> np.ndarray:
            actions = self._act(images, poses, noise)
            if self.payment is not None and not predicted:
                predicted.append(self.policy.value(images, poses, actions))
            return actions

        recorders = act_side_by_side(
            self,
            group,
            act,
            self.draws,
            _CANDIDATE_STREAM,
            noise_dimensions=self.policy.noise_dimensions,
            history=self.policy.shape.history,
        )
        outcomes = []
        for number, recorder in zip(group.numbers, recorders, strict=True):
            outcome = _outcome(number, recorder)
            if self.payment is not None:
                value = float(predicted[0][number % self.rows])
                paid = self.payment.discounted(recorder)
                outcome = replace(outcome, predicted=value, discounted=paid)
            outcomes.append(outcome)
        return outcomes

    def _act(self, images: Seen | None, poses: np.ndarray, noise: np.ndarray) -> np.ndarray:
        if self.acting == "critic":
            return self.policy.choose(images, poses, noise)
        return self.policy.act(images, poses, noise[:, 0] if self.draws else None)


def _outcome(number: int, recorder: Recorder) -> Outcome:
    """The outcome of a finished episode."""
    stages = getattr(recorder.env.unwrapped, "stages", ())
    furthest = furthest_stage(recorder.signal_values(), recorder.succeeded, stages)
    return Outcome(
        number=number,
        seed=recorder.seed,
        start=recorder.start,
        success=recorder.succeeded,
        success_last=recorder.success,
        steps=len(recorder),
        total=recorder.total,
        furthest=furthest,
        actions=np.stack(recorder.actions),
    )


def roll_in_worker(
    checkpoint: Path,
    scene: Scene,
    rows: int,
    acting: str,
    candidates: int,
    payment: Payment | None,
    group: Group,
) -> list[Outcome]:
    """Run a group in a worker process, which keeps its policy and environments for the next one."""
    torch.set_num_threads(1)
    return _fleet(checkpoint, scene, rows, acting, candidates, payment).roll(group)


def replay(scene: Scene, outcome: Outcome, size: int) -> np.ndarray:
    """Frames (T + 1, size, size, 3) uint8 for people: repeat the recorded actions from the same seed.

    Raises:
        CogError: the episode ended differently; the environment is not determined by its seed.
    """
    env = make_environment(scene, "rgb_array")
    try:
        recorder = Recorder(env, outcome.seed, outcome.start, keep_observations=False)
        frames = [_shrunk(env.render(), size)]
        for action in outcome.actions:
            recorder.step(action)
            frames.append(_shrunk(env.render(), size))
    finally:
        env.close()
    if recorder.succeeded != outcome.success:
        raise CogError(
            f"episode {outcome.number} (seed {outcome.seed}, start '{outcome.start}') ended differently when "
            "replayed",
            remedy=f"make {scene.env} depend on its seed alone",
        )
    return np.stack(frames)


def _shrunk(frame: np.ndarray, size: int) -> np.ndarray:
    """The frame at `size` pixels; averaging areas also smooths the renderer's edges."""
    small: np.ndarray = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
    return small


@cache
def _fleet(
    checkpoint: Path, scene: Scene, rows: int, acting: str, candidates: int, payment: Payment | None
) -> Fleet:
    """Policy and environments of this worker process, which live as long as it does."""
    return Fleet(checkpoint, scene, rows, acting, candidates, payment)
