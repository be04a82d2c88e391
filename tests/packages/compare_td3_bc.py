"""TD3+BC of cog beside TD3+BC of d3rlpy: the same transitions, hyper-parameters and evaluation episodes.

    python -m tests.packages.compare_td3_bc --out FILE

The task is Gymnasium's Pendulum-v1, whose episodes end by their time limit alone. The behaviour swings the
pendulum up and holds it, but takes a random action in a share of the steps and adds noise in all others.

Shapes: E episodes side by side, T steps.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from scipy.stats import sem, t

from cog.algorithms.td3_bc import TD3BCConfig
from cog.core.files import json_text
from cog.datasets.episode import Episode
from cog.datasets.transitions import from_episodes
from cog.evaluation.policy import Policy
from cog.networks.config import NetworkConfig
from cog.training.config import TrainConfig
from cog.training.train import train

Act = Callable[[np.ndarray], np.ndarray]
"""States (E, 3) float32 to actions (E, 1) float32 in [-1, 1]."""


@dataclass(frozen=True)
class Comparison:
    """What is compared: the data, the settings that both share, the seeds and the evaluation."""

    task: str = "Pendulum-v1"
    """Gymnasium's name of the task."""
    steps: int = 200
    """Steps in an episode, which its time limit ends."""
    episodes: int = 50
    """Episodes of the behaviour."""
    random_share: float = 0.3
    """Share of the behaviour's steps with a uniformly random action."""
    noise: float = 0.5
    """Standard deviation of the noise on all its other actions."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Training seeds of each package."""
    updates: int = 4000
    """Updates of the critics."""
    batch: int = 256
    """Transitions in a batch."""
    width: int = 256
    """Units of each of two hidden layers."""
    lr: float = 3e-4
    """Step size of actor and critics."""
    discount: float = 0.99
    """Discount per step."""
    target_rate: float = 0.005
    """Share of the weights that moves into the targets (tau)."""
    weight: float = 2.5
    """Weight of Q against imitation (alpha)."""
    evaluations: int = 50
    """Evaluation episodes of each policy, from the same states for all."""


def play(act: Act, starts: Iterable[int], about: Comparison) -> list[Episode]:
    """One episode from each seed of a start, all side by side."""
    starts = list(starts)
    envs = [gymnasium.make(about.task, max_episode_steps=about.steps) for _ in starts]
    states = [np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, starts, strict=True)])]
    actions, rewards = [], []
    for step in range(about.steps):
        actions.append(act(states[-1]))
        results = [env.step(one * env.action_space.high) for env, one in zip(envs, actions[-1], strict=True)]
        after, reward, terminated, truncated, _ = zip(*results, strict=True)
        assert not any(terminated) and all(ended == (step == about.steps - 1) for ended in truncated)
        states.append(np.stack(after))
        rewards.append(reward)
    joined = [np.stack(values, 1).astype(np.float32) for values in (states, actions, np.array(rewards))]
    return [
        Episode(
            state=state,
            actions=action,
            rewards=reward,
            terminals=np.zeros(about.steps, bool),
            signals={},
            seed=seed,
            truncated=True,
        )
        for state, action, reward, seed in zip(*joined, starts, strict=True)
    ]


def behaviour(about: Comparison, seed: int = 0) -> Act:
    """Swing up by adding energy, hold by a spring and a damper, at random or with noise."""
    rng = np.random.default_rng(seed)

    def act(states: np.ndarray) -> np.ndarray:
        cosine, sine, speed = states.T
        energy = speed**2 / 2 + 15 * (cosine - 1)  # 0 at rest upright: mass 1, length 1, gravity 10
        scripted = np.where(cosine > 0.9, -4 * sine - speed, -np.sign(speed * energy))
        scripted = scripted + rng.normal(0, about.noise, len(states))
        drawn = rng.uniform(-1, 1, len(states))
        mixed = np.where(rng.random(len(states)) < about.random_share, drawn, scripted)
        return mixed.clip(-1, 1)[:, None].astype(np.float32)

    return act


def record(about: Comparison) -> list[Episode]:
    """The dataset: episodes of the behaviour from the starts 0, 1, 2 and so on."""
    return play(behaviour(about), range(about.episodes), about)


def train_cog(episodes: Sequence[Episode], seed: int, about: Comparison) -> Act:
    """The policy of cog's TD3+BC: the last weights, without average or layer norm, as in the paper."""
    widths = (about.width, about.width)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            data=Path("unused"),
            out=Path(folder) / "run",
            seed=seed,
            updates=about.updates,
            batch_size=about.batch,
            sampling="uniform",
            average_decay=0.0,
            checkpoint_every=about.updates,
            network=NetworkConfig(critic_widths=widths, actor_widths=widths, layer_norm=False),
            algorithm=TD3BCConfig(
                weight=about.weight,
                discount=about.discount,
                target_rate=about.target_rate,
                critic_lr=about.lr,
                actor_lr=about.lr,
            ),
        )
        policy = Policy.load(train(config, from_episodes(episodes, "behaviour")))
    return lambda states: policy.act(None, states)


def train_d3rlpy(episodes: Sequence[Episode], seed: int, about: Comparison) -> Act:
    """The policy of d3rlpy's TD3+BC, whose defaults are the settings that are not named here."""
    import d3rlpy

    torch.set_num_threads(1)
    d3rlpy.seed(seed)
    states = np.concatenate([episode.state for episode in episodes])
    encoder = d3rlpy.models.VectorEncoderFactory([about.width, about.width])
    model = d3rlpy.algos.TD3PlusBCConfig(
        batch_size=about.batch,
        gamma=about.discount,
        tau=about.target_rate,
        alpha=about.weight,
        actor_learning_rate=about.lr,
        critic_learning_rate=about.lr,
        actor_encoder_factory=encoder,
        critic_encoder_factory=encoder,
        observation_scaler=d3rlpy.preprocessing.StandardObservationScaler(states.mean(0), states.std(0)),
    ).create(device="cpu:0")
    model.fit(
        d3rlpy_buffer(episodes),
        n_steps=about.updates,
        n_steps_per_epoch=about.updates,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return model.predict  # type: ignore[no-any-return]


def d3rlpy_buffer(episodes: Sequence[Episode]) -> Any:
    """All transitions for d3rlpy, which has no place for the state after the last step of an episode cut off.

    It never samples the last step of such an episode. One more step is appended, so that this is the one.
    """
    from d3rlpy.dataset import Episode as Padded
    from d3rlpy.dataset import InfiniteBuffer, ReplayBuffer

    def padded(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.zeros_like(values[:1])])

    made = [Padded(one.state, padded(one.actions), padded(one.rewards[:, None]), False) for one in episodes]
    return ReplayBuffer(InfiniteBuffer(), episodes=made)


PACKAGES = {"cog": train_cog, "d3rlpy": train_d3rlpy}


def mean_return(job: tuple[str, int, Comparison]) -> float:
    """Train one package with one seed; the mean return of its policy over the evaluation episodes."""
    package, seed, about = job
    act = PACKAGES[package](record(about), seed, about)
    starts = range(10_000, 10_000 + about.evaluations)
    return float(np.mean([episode.rewards.sum() for episode in play(act, starts, about)]))


def summary(returns: Sequence[float]) -> dict[str, Any]:
    """Figures, their mean, and Student's 95 % interval of that mean."""
    low, high = t.interval(0.95, len(returns) - 1, np.mean(returns), sem(returns))
    rounded = [round(float(value), 1) for value in (*returns, np.mean(returns), low, high)]
    return {"returns": rounded[:-3], "mean": rounded[-3], "low": rounded[-2], "high": rounded[-1]}


def compare(about: Comparison = Comparison(), processes: int = 2) -> dict[str, Any]:
    """Returns of the data by episode, and of each package by training seed."""
    jobs = [(package, seed, about) for seed in about.seeds for package in PACKAGES]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        found = dict(zip(jobs, pool.map(mean_return, jobs), strict=True))
    data = summary([float(episode.rewards.sum()) for episode in record(about)])
    del data["returns"]
    result = {"settings": asdict(about), "behaviour": data}
    return result | {one: summary([found[one, seed, about] for seed in about.seeds]) for one in PACKAGES}


def main(arguments: Sequence[str]) -> None:
    """Compare, and write the figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    out = parser.parse_args(arguments).out
    out.write_text(json_text(compare()))


if __name__ == "__main__":
    main(sys.argv[1:])
