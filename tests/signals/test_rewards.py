"""Named predicates agree with what the environment calls success."""

import gymnasium
import numpy as np

import cog.envs
from cog.envs.behaviours import make_behaviour
from cog.signals import predicates as rewards


def episode_signals(name: str, start: str, seed: int) -> tuple[dict[str, np.ndarray], list[bool]]:
    """Signals of every state of an episode that does not terminate, and the environment's verdicts."""
    env = gymnasium.make(
        cog.envs.DRAWER_GRASP,
        start=start,
        observation="state",
        terminate_on_success=False,
        max_episode_steps=25,
    )
    _, info = env.reset(seed=seed)
    behaviour = make_behaviour(name, env.unwrapped, np.random.default_rng(seed))
    infos, over = [info], False
    while not over:
        *_, terminated, truncated, info = env.step(behaviour.act())
        assert not terminated
        infos.append(info)
        over = truncated
    env.close()
    signals = {key: np.array([entry["signals"][key] for entry in infos]) for key in infos[0]["signals"]}
    return signals, [entry["success"] for entry in infos]


def test_grasp_success_is_the_environments_success_at_every_step():
    for seed in range(3):
        signals, verdicts = episode_signals("grasp", "open", seed)
        assert any(verdicts) and not all(verdicts)
        assert rewards.grasp_success(signals).tolist() == verdicts


def test_drawer_opened_becomes_true_while_the_drawer_is_pulled():
    signals, _ = episode_signals("open_drawer", "closed", 0)
    opened = rewards.drawer_opened(signals)
    assert not opened[0] and opened[-1]
    assert (signals["drawer_opening"][opened] > rewards.OPEN_FRACTION).all()
