"""The study of extrapolation: its buffer, its three experiments, its figures, and its resumption."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from cog.algorithms.ddpg import DDPG
from cog.algorithms.shared.base import Algorithm
from cog.errors import CogError, UsageError
from cog.experiments.studies.extrapolation import learning, run
from cog.experiments.studies.extrapolation.agents import (
    Point,
    acting,
    critic_of,
    make_agent,
    settings_of,
    value,
)
from cog.experiments.studies.extrapolation.config import SEED_LIMIT, ExtrapolationConfig
from cog.experiments.studies.extrapolation.growing import GrowingBuffer
from cog.experiments.studies.extrapolation.summary import Results, findings, interval, report, summarise
from cog.experiments.studies.extrapolation.task import Stream, Task, evaluate, open_task
from cog.replay.buffer import Buffer

PENDULUM = open_task("Pendulum-v1")


def tiny(out: Path, **changes: Any) -> ExtrapolationConfig:
    """The study in a second or two."""
    values: dict[str, Any] = {
        "methods": ("td3_bc",),
        "seeds": (0,),
        "steps": 240,
        "updates": 40,
        "random_steps": 200,
        "widths": (8,),
        "batch_size": 8,
        "evaluate_every": 40,
        "evaluations": 1,
        "discount": 0.9,
        "processes": 1,
    }
    return ExtrapolationConfig(out=out, **(values | changes))


def filled() -> GrowingBuffer:
    """Five steps of two episodes: the first of three steps ends terminally, the second goes on."""
    buffer = GrowingBuffer(8, 2, 1, discount=0.9)
    for step in range(5):
        state = np.array([step + (step > 2), 0.5])
        end = step == 2
        buffer.add(state, np.array([0.1 * step]), float(2**step), state + np.array([1, 0]), end, end)
    return buffer


def test_the_growing_buffer_yields_the_batches_of_one_filled_by_hand() -> None:
    buffer = filled()
    made = Buffer(buffer.transitions("made"), torch.device("cpu"), 4, "uniform", 0.9)
    index = torch.arange(5)
    whole = made.gather(index)
    for seed in range(3):
        batch = buffer.sample(torch.Generator().manual_seed(seed), 40)
        index = torch.randint(5, (40,), generator=torch.Generator().manual_seed(seed))
        for one, other in zip(batch[2:7], whole[2:7], strict=True):
            assert one is not None and other is not None
            torch.testing.assert_close(one, other[index])
    assert whole.bootstrap.tolist() == pytest.approx([0.9, 0.9, 0.0, 0.9, 0.9])
    assert whole.rewards.tolist() == [1, 2, 4, 8, 16]
    assert whole.proprio[:, 0].tolist() == [0, 1, 2, 4, 5] and whole.next_proprio[2, 0] == 3


def test_only_steps_so_far_are_drawn_and_only_ended_episodes_have_a_return() -> None:
    buffer = filled()
    assert len(buffer) == 5 and buffer.episode_returns() == [7.0]
    drawn = buffer.sample(torch.Generator().manual_seed(0), 500)
    assert set(drawn.rewards.tolist()) == {1.0, 2.0, 4.0, 8.0, 16.0}
    assert [len(part) for part in buffer.pairs(3)] == [3, 3]
    assert buffer.transitions("made").episode.tolist() == [0, 0, 0, 1, 1]
    for step in range(3):
        buffer.add(np.zeros(2), np.zeros(1), 0.0, np.zeros(2), False, step == 2)
    with pytest.raises(CogError, match="full: it holds 8"):
        buffer.add(np.zeros(2), np.zeros(1), 0.0, np.zeros(2), False, False)
    with pytest.raises(CogError, match="holds no steps"):
        GrowingBuffer(1, 2, 1, 0.9).sample(torch.Generator(), 1)


def test_a_buffer_is_read_as_it_was_saved(tmp_path: Path) -> None:
    buffer = filled()
    buffer.save(tmp_path / "buffer.npz")
    again = GrowingBuffer.load(tmp_path / "buffer.npz", 0.9)
    assert again.transitions("made").fingerprint == buffer.transitions("made").fingerprint
    assert again.episode_returns() == buffer.episode_returns()
    (tmp_path / "buffer.npz").write_bytes(b"PK")
    with pytest.raises(CogError, match="cannot be read"):
        GrowingBuffer.load(tmp_path / "buffer.npz", 0.9)


def test_a_time_limit_ends_an_episode_and_is_no_terminal() -> None:
    buffer = GrowingBuffer(401, 3, 1, 0.99)
    stream = Stream(PENDULUM, buffer, seed=0)
    for _ in range(401):
        stream.step(np.ones(1, np.float32))
    assert buffer.ends.nonzero()[:, 0].tolist() == [199, 399]
    assert not buffer.terminals.any() and len(buffer.episode_returns()) == 2
    assert not torch.equal(buffer.following[199], buffer.states[200])  # the next episode starts elsewhere


def test_evaluation_sums_rewards_to_the_limit_and_discounts_them_beyond_it() -> None:
    def act(states: np.ndarray) -> np.ndarray:
        return np.full((len(states), 1), 0.5, np.float32)

    found = evaluate(PENDULUM, act, 2, discount=0.99)
    env = PENDULUM.make(459)  # 0.99^458.2 is 1 %
    for number in range(2):
        start, _ = env.reset(seed=10_000 + number)
        np.testing.assert_array_equal(found.starts[number], start)
        rewards = [float(env.step(np.array([1.0]))[1]) for _ in range(459)]  # half of the largest torque, 2
        assert found.returns[number] == pytest.approx(sum(rewards[:200]))
        assert found.discounted[number] == pytest.approx(sum(0.99**t * r for t, r in enumerate(rewards)))


def test_the_expert_of_imitation_acts_as_its_policy_says_without_any_noise(tmp_path: Path) -> None:
    config = tiny(tmp_path, steps=240)
    online = learning.learn_online(config, "concurrent", 0)
    recorded = learning.record_expert(config, 0)
    data = GrowingBuffer.load(learning.data_file(config, "imitation", 0), config.discount)
    expert = make_agent(config, PENDULUM, "ddpg", 0)
    expert.load_state_dict(learning.load_file(learning.expert_file(config, 0)))
    acted = acting(expert)(data.states.numpy())
    np.testing.assert_allclose(data.actions.numpy(), acted, atol=1e-5)
    assert len(online["online"]) > 1 and len(recorded["online"]) == 1
    noisy = GrowingBuffer.load(learning.data_file(config, "concurrent", 0), config.discount)
    assert float(np.abs(noisy.actions.numpy() - acting(expert)(noisy.states.numpy())).max()) > 0.05


def test_the_expert_is_chosen_by_other_starts_than_those_it_is_compared_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tmp_path, steps=240)
    chosen_by: list[int] = []

    def watched(task: Task, act: Any, episodes: int, discount: float, first: int) -> Any:
        chosen_by.append(first)
        return evaluate(task, act, episodes, discount, first)

    monkeypatch.setattr(learning, "evaluate", watched)
    learning.learn_online(config, "concurrent", 0)
    assert set(chosen_by) == {learning.CHOICE_START}
    one, other = (
        evaluate(PENDULUM, lambda states: states[:, :1] * 0, 2, 0.99, first).starts
        for first in (10_000, 20_000)
    )
    assert not np.allclose(one, other)


def test_a_model_is_fitted_in_a_tenth_of_the_updates_and_knows_the_lowest_return() -> None:
    config = ExtrapolationConfig(updates=1000)
    assert settings_of(config, "morel").model_updates == 100  # type: ignore[attr-defined]
    agent = make_agent(config, PENDULUM, "morel", 0, (-500.0, 0.0))
    assert agent.halt_value < -500.0  # type: ignore[attr-defined]


def test_concurrent_agents_get_the_same_batches_and_differ_by_their_first_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents: dict[int, Algorithm[Any]] = {}
    seen: dict[int, list[Any]] = {0: [], SEED_LIMIT: []}

    def made(config: ExtrapolationConfig, task: Task, method: str, seed: int) -> Algorithm[Any]:
        agent = agents[seed] = make_agent(config, task, method, seed)
        update = agent.update
        monkeypatch.setattr(agent, "update", lambda batch: (seen[seed].append(batch), update(batch))[1])
        return agent

    monkeypatch.setattr(learning, "make_agent", made)
    curves = learning.learn_online(tiny(tmp_path), "concurrent", 0)
    assert set(curves) == {"online", "ddpg"} and len(seen[0]) == 40
    assert all(first is second for first, second in zip(seen[0], seen[SEED_LIMIT], strict=True))
    # From the online agent's first weights the second one would have become its copy.
    twin = make_agent(tiny(tmp_path), PENDULUM, "ddpg", 0)
    for batch in seen[SEED_LIMIT]:
        twin.update(batch)
    online, beside = (dict(agents[seed].named_parameters()) for seed in (0, SEED_LIMIT))
    assert all(torch.equal(weight, online[name]) for name, weight in twin.named_parameters())
    assert not torch.equal(online["actor.mean.weight"], beside["actor.mean.weight"])


def test_the_noise_of_the_agent_that_acts_is_that_of_its_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DDPG, "update", lambda self, batch: {})  # its policy stays at about 0
    spread = []
    for experiment in ("final", "concurrent"):
        config = tiny(tmp_path, steps=900, random_steps=1, updates=900, evaluate_every=900)
        learning.learn_online(config, experiment, 0)  # type: ignore[arg-type]
        data = GrowingBuffer.load(learning.data_file(config, experiment, 0), 0.9)  # type: ignore[arg-type]
        spread.append(float(data.actions[1:].std()))
    # Noise of 0.5 clipped at 1, which is twice its deviation, has a deviation of 0.48.
    assert spread == pytest.approx([0.48, 0.1], rel=0.1)


def test_the_whole_study_is_run_once_and_resumed_without_repeating_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, said = tiny(tmp_path), list[str]()
    run.extrapolate(config, said.append)
    jobs = sorted(path.name for path in (tmp_path / "jobs").iterdir())
    assert len(jobs) == len(said) == 8
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary["experiments"]) == {"final", "concurrent", "imitation"}
    for agents in summary["experiments"].values():
        assert set(agents) == {"online", "ddpg", "td3_bc"}
    assert (tmp_path / "extrapolation.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "extrapolation.md").read_text()
    assert text.count("| imitation |") == 3 and "imitation: offline DDPG earns" in text

    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "jobs" / "final-td3_bc-0.json").unlink()
    done: list[str] = []
    work = run.do
    monkeypatch.setattr(run, "do", lambda config, job: (done.append(str(job)), work(config, job))[1])
    run.extrapolate(config, said.append)
    assert done == ["final td3_bc seed 0"]
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in before if path.suffix != ".png" and before[path] != after[path]} == set()
    with pytest.raises(CogError, match=r"made with other settings.*--out"):
        run.extrapolate(dataclasses.replace(config, lr=0.5), said.append)


def test_jobs_in_processes_write_what_jobs_in_turn_write(tmp_path: Path) -> None:
    small = {"experiments": ("final",), "methods": (), "seeds": (0, 1), "steps": 220}
    for name, processes in (("one", 1), ("two", 2)):
        run.extrapolate(tiny(tmp_path / name, processes=processes, **small), lambda _: None)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "jobs").iterdir()}
        for name in ("one", "two")
    )
    assert one == two and len(one) == 4


def curve(*values: float, excess: float = 0.0) -> list[Point]:
    return [Point(step, one, one / 2, one / 2 + excess, 0.0) for step, one in enumerate(values)]


def test_figures_are_means_of_the_last_fifth_with_student_s_interval_over_seeds() -> None:
    low, high = student.interval(0.95, 2, loc=2.0, scale=1 / np.sqrt(3))
    known = interval([1.0, 2.0, 3.0])
    assert (known.mean, known.low, known.high) == pytest.approx((2.0, low, high))
    assert interval([4.0]) == (4.0, None, None)
    curves = [curve(0, 0, 0, 0, 0, 0, 0, 0, 10, 20 + seed, excess=3) for seed in range(3)]
    agent = summarise(Results({"final": {"ddpg": curves}}, {}, {("final", "ddpg"): 1})).agents["final"][
        "ddpg"
    ]
    assert agent.end["returns"].mean == pytest.approx(15.5)
    assert agent.end["excess"].mean == pytest.approx(3.0) and agent.too_high == 3 and agent.stopped == 1
    assert [point["returns"].mean for point in agent.curve] == [0.0] * 8 + [10.0, 21.0]


def test_findings_say_disjoint_only_of_disjoint_intervals() -> None:
    def told(offline: float, method: float) -> list[str]:
        seeds = (-1.0, 0.0, 1.0)
        curves = {
            name: [curve(base + seed) for seed in seeds]
            for name, base in (("online", 100.0), ("ddpg", offline), ("bcq", method))
        }
        return findings(summarise(Results({"final": curves}, {}, {})))

    apart, which = told(10, 90)
    assert "the intervals are disjoint" in apart and which.endswith("clearly above offline DDPG: bcq.")
    close, none = told(99, 99)
    assert "no clear gap" in close and none.endswith("none.")


def test_curves_that_overflow_end_there_and_are_counted(tmp_path: Path) -> None:
    points = [
        Point(1, 1.0, 1.0, 1.0, 1.0),
        Point(2, 1.0, 1.0, float("inf"), 1.0),
        Point(3, 1.0, 1.0, 1.0, 1.0),
    ]
    assert run._finite(points) == [points[0]._asdict()]
    results = Results({"final": {"ddpg": [[points[0]], []]}}, {"final": [5.0]}, {("final", "ddpg"): 2})
    assert "| final | `ddpg` | 1 | 5 | 1 | 1 | 1 | 2 |" in report(summarise(results), tiny(tmp_path), "x.png")


def test_methods_keep_their_paper_s_settings_but_for_discount_steps_and_long_warm_ups() -> None:
    config = ExtrapolationConfig(updates=1000, discount=0.95, lr=0.007)
    cql = settings_of(config, "cql")
    assert (cql.discount, cql.steps, cql.bc_updates) == (0.95, 1, 100)  # type: ignore[attr-defined]
    assert cql.conservative_weight == 1.0  # type: ignore[attr-defined]
    assert settings_of(config, "ddpg").critic_lr == 0.007  # type: ignore[attr-defined]
    assert settings_of(config, "td3").critic_lr == 3e-4  # type: ignore[attr-defined]


def test_values_are_the_first_critic_s_at_states_as_they_are(tmp_path: Path) -> None:
    agent = make_agent(tiny(tmp_path), PENDULUM, "td3", 0)
    critic = critic_of(agent)
    states, actions = torch.randn(5, 3), torch.randn(5, 1)
    hidden = states @ critic.of_state.weight[0] + critic.of_state.bias[0]  # type: ignore[index]
    hidden = (hidden + actions @ critic.of_action.weight[0]).relu()
    q = hidden @ critic.last.weight[0] + critic.last.bias[0]  # type: ignore[index]
    assert value(agent, states, actions) == pytest.approx(float(q.detach().mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"methods": ("ddpg",)}, "ddpg, which is always run"),
        ({"seeds": ()}, "seeds are empty"),
        ({"seeds": (1, 1)}, "name each once"),
        ({"random_steps": 240}, "nothing would be learned"),
        ({"evaluate_every": 41}, "nothing would be evaluated"),
        ({"discount": 1.0}, r"discount is 1.0; it must lie in \(0, 1\)"),
    ],
)
def test_settings_that_make_no_study_are_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        tiny(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"task": "Absent-v7"}, "task 'Absent-v7' cannot be made"),
        ({"task": "CartPole-v1"}, "other states or actions than vectors"),
        ({"methods": ("bc",)}, "bc has no critic"),
        ({"methods": ("absent",)}, "algorithm 'absent' is unknown"),
    ],
)
def test_tasks_and_methods_that_do_not_fit_are_refused_before_any_work(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        run.extrapolate(tiny(tmp_path, **changes), lambda _: None)
    assert not list(tmp_path.iterdir())


def test_a_task_whose_simulator_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import gymnasium

    def absent(name: str, **_: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("MuJoCo is not installed")

    monkeypatch.setattr(gymnasium, "make", absent)
    with pytest.raises(CogError, match="of the extra 'mujoco'"):
        open_task("Hopper-v5")


def test_the_quick_study_is_a_smaller_one(tmp_path: Path) -> None:
    config = ExtrapolationConfig(out=tmp_path, quick=True)
    quick = config.chosen()
    assert (quick.steps, quick.updates, quick.seeds, quick.quick) == (3000, 3000, (0, 1), False)
    assert quick.methods == ("bcq", "td3_bc") and config.chosen() == quick
    assert ExtrapolationConfig(out=tmp_path).chosen() == ExtrapolationConfig(out=tmp_path)
