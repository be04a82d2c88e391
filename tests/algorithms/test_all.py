"""What every algorithm of the table promises, each of them put to the same tests."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cog.algorithms import ALGORITHMS, algorithm
from cog.algorithms.shared.base import Algorithm
from cog.core.configs import from_json, to_json
from cog.errors import CogError, UsageError
from cog.evaluation.policy import Policy
from cog.replay.buffer import Batch, Buffer
from cog.tabular.chain import ACTIONS, DEAD_END, LEFT, RIGHT, STATES, A, E, Steps, chain, reaches_c
from cog.tabular.iteration import greedy, value_iteration
from cog.training import checkpoint
from cog.training.config import TrainConfig
from cog.training.execution import executed
from cog.training.presets import PRESETS, preset
from cog.training.setup import create
from cog.training.train import train
from tests.helpers.learner_data import config, noise, steps_of, suited
from tests.training.test_execution import needs_compiler

CPU = torch.device("cpu")
EVERY = pytest.mark.parametrize("name", ALGORITHMS)


def made(name: str, images: bool | None = None, **changes: Any) -> tuple[Algorithm[Any], Buffer]:
    """A small agent and its buffer, with images if it learns from them and nothing else is asked for."""
    settings = config(algorithm=name, **changes)
    images = algorithm(name).sees_images if images is None else images
    buffer = Buffer(noise(images=images), CPU, settings.batch_size, "uniform", *settings.algorithm.returns())
    return create(settings, buffer), buffer


def state_of(agent: Algorithm[Any]) -> dict[str, Tensor]:
    """Copies of all weights."""
    return {name: value.detach().clone() for name, value in agent.named_parameters()}


@EVERY
def test_the_table_names_the_class_its_settings_and_a_preset_of_each_kind(name: str) -> None:
    kind = algorithm(name)
    assert kind.Config.name == name and set(kind.presets) == set(PRESETS)
    for chosen in PRESETS:
        settings = preset(chosen, Path("data"), Path("out"), name)
        assert isinstance(settings.algorithm, kind.Config)
        assert from_json(to_json(settings), TrainConfig) == settings
    fields = dataclasses.fields(kind.Config)
    assert fields and all("interval" in field.metadata for field in fields if field.type in (int, float))


@EVERY
def test_images_are_learned_from_or_refused_with_what_to_use(name: str) -> None:
    if algorithm(name).sees_images:
        made(name, images=True)
        return
    with pytest.raises(UsageError, match=f"{name} learns from states alone.*--algorithm cql"):
        made(name, images=True)


@EVERY
@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("sharing", ["shared", "separate"])
def test_every_loss_and_metric_is_finite_and_progress_names_some(
    name: str, images: bool, sharing: str
) -> None:
    images = images and algorithm(name).sees_images
    agent, buffer = made(name, images, sharing=sharing, critics=3)
    seen: set[str] = set()
    for _ in range(4):
        batch = buffer.sample(agent.generator)
        draws = agent.draws(len(batch.actions))
        for phase in agent.phases():
            losses, metrics = agent.losses(batch, draws, phase)
            assert losses and all(bool(loss.isfinite()) for loss in losses.values())
            assert all(bool(value.isfinite()) and not value.requires_grad for value in metrics.values())
            seen |= set(metrics)
        agent.update(batch)
    assert set(agent.progress) <= seen


NEVER_TRAINED = {"cql": {"log_weight"}}
"""Parameters without an optimiser by default: CQL learns this weight in its Lagrange form alone."""


@EVERY
@pytest.mark.parametrize("sharing", ["shared", "separate"])
def test_every_parameter_that_can_learn_belongs_to_exactly_one_optimiser(name: str, sharing: str) -> None:
    agent, _ = made(name, sharing=sharing)
    of_optimisers = [
        id(weight)
        for optimiser in agent.optimizers.values()
        for group in optimiser.param_groups
        for weight in group["params"]
    ]
    assert len(set(of_optimisers)) == len(of_optimisers), "a parameter of two optimisers"
    learning = {key: id(weight) for key, weight in agent.named_parameters() if weight.requires_grad}
    assert set(of_optimisers) <= set(learning.values()), "an optimiser of what is no part of the agent"
    left_out = {key for key, weight in learning.items() if weight not in set(of_optimisers)}
    assert left_out == NEVER_TRAINED.get(name, set())


@EVERY
@pytest.mark.parametrize("sharing", ["shared", "separate"])
def test_each_loss_moves_the_parameters_of_its_own_optimiser_and_no_others(name: str, sharing: str) -> None:
    agent, buffer = made(name, sharing=sharing)
    stepped = set()
    for _ in range(4):
        batch = buffer.sample(agent.generator)
        draws = agent.draws(len(batch.actions))
        for phase in agent.phases():
            gradients, _ = agent.gradients(batch, draws, phase)
            for part, gradient in gradients.items():
                own = {id(weight) for weight in agent.optimizers[part].param_groups[0]["params"]}
                names = {key for key, weight in agent.named_parameters() if id(weight) in own}
                before = state_of(agent)
                agent.step(part, gradient)
                moved = {key for key, value in state_of(agent).items() if not torch.equal(value, before[key])}
                assert moved and moved <= names, part
                stepped.add(part)
        agent.updates_done += 1
    assert stepped == set(agent.optimizers)


DETACHED_OF_ITSELF = {("td3_bc", "actor"), ("fql", "actor"), ("mopo", "actor"), ("morel", "actor")}
"""Losses with a factor, or on states, that depend on what they train and are held constant: their own files
test them."""


@EVERY
def test_each_gradient_is_the_finite_difference_of_its_loss(name: str) -> None:
    agent, buffer = made(name, images=False)
    agent.double()
    batch = Batch(
        *(
            one.double() if one is not None and one.is_floating_point() else one
            for one in buffer.sample(agent.generator)
        )
    )
    generator = torch.Generator().manual_seed(1)
    checked = set()
    for _ in range(4):
        draws = agent.draws(len(batch.actions))
        for phase in agent.phases():
            gradients, _ = agent.gradients(batch, draws, phase)
            for part, gradient in gradients.items():
                if (name, part) in DETACHED_OF_ITSELF:
                    continue
                weights = agent.optimizers[part].param_groups[0]["params"]
                direction = [torch.randn(one.shape, generator=generator, dtype=one.dtype) for one in weights]
                slope = float(sum((a * b).sum() for a, b in zip(gradient, direction, strict=True)))
                ends = []
                with torch.no_grad():
                    for step in (1e-6, -2e-6):
                        torch._foreach_add_(weights, direction, alpha=step)
                        ends.append(float(agent.losses(batch, draws, phase)[0][part]))
                    torch._foreach_add_(weights, direction, alpha=1e-6)
                assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3, abs=1e-6), (phase, part)
                checked.add(part)
        agent.updates_done += 1
    assert checked == {part for part in agent.optimizers if (name, part) not in DETACHED_OF_ITSELF}


@EVERY
def test_gradients_draw_no_random_number(name: str) -> None:
    agent, buffer = made(name, shift=2)
    batch = buffer.sample(agent.generator)
    draws = agent.draws(len(batch.actions))
    before, everywhere = agent.generator.get_state(), torch.get_rng_state()
    for phase in agent.phases():
        agent.gradients(batch, draws, phase)
    assert torch.equal(agent.generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), everywhere)


@pytest.mark.parametrize(("name", "field"), [("brac", "behaviour_updates"), ("mopo", "model_updates")])
def test_a_run_too_short_for_its_policy_to_learn_says_so(name: str, field: str, tmp_path: Path) -> None:
    for updates, told in ((3, True), (4, False)):
        said: list[str] = []
        settings = config(tmp_path / str(updates), algorithm=name, updates=updates, **{field: 3})
        train(settings, suited({"algorithm": name}), on_message=said.append)
        assert any("policy begins to learn after update 3" in text for text in said) == told


@EVERY
def test_a_run_that_was_interrupted_resumes_to_the_bit(name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"algorithm": name, "shift": 2}
    train(config(tmp_path / "whole", updates=7, **changes), suited(changes))
    train(config(tmp_path / "parts", updates=4, **changes), suited(changes))
    train(config(tmp_path / "parts", updates=7, **changes), suited(changes), resume=True)
    whole, parts = (checkpoint.load(tmp_path / run) for run in ("whole", "parts"))
    for kind in ("model", "optimizer"):
        first, second = whole.tensors(kind), parts.tensors(kind)
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[key]) for key, value in first.items())


@needs_compiler
@EVERY
def test_compiled_updates_take_the_same_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Captured as one graph with its gradients, which is what an algorithm can break; that code is then
    # generated for it takes minutes for all of them, and tests/training/test_execution.py does it once.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    (plain, buffer), (fast, same) = made(name, images=False), made(name, images=False, compiled=True)
    update = executed(fast, same, fast.settings)  # type: ignore[arg-type]
    for _ in range(4):
        expected, found = plain.update(buffer.sample(plain.generator)), update()
        assert found.keys() == expected.keys()
    for key, value in state_of(plain).items():
        torch.testing.assert_close(state_of(fast)[key], value, rtol=1e-3, atol=1e-3, msg=key)


@EVERY
def test_a_checkpoint_and_an_exported_policy_act_as_the_agent_s_average_does(
    name: str, tmp_path: Path
) -> None:
    train(config(tmp_path / "run", updates=3, algorithm=name), suited({"algorithm": name}))
    policy = Policy.load(tmp_path / "run")
    policy.export(tmp_path / "exported")
    held = suited({"algorithm": name})
    fixed = np.random.default_rng(0).normal(size=(5, policy.noise_dimensions)).astype(np.float32)
    images = None if held.frames is None else held.frames[:5]
    seen = (images, held.proprio[:5])
    tensors = checkpoint.load(tmp_path / "run").tensors("model")
    agent, _ = made(name)
    agent.load_state_dict(tensors)
    pictures = None if images is None else torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = agent.average(pictures, torch.from_numpy(held.proprio[:5])).mode().numpy()
    for one in (policy, Policy.load(tmp_path / "exported")):
        np.testing.assert_allclose(one.act(*seen), expected, atol=1e-6)
        np.testing.assert_array_equal(one.act(*seen, fixed), policy.act(*seen, fixed))
    with pytest.raises(CogError, match="is not empty"):
        policy.export(tmp_path / "exported")
    weights = tmp_path / "exported" / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(CogError, match="damaged"):
        Policy.load(tmp_path / "exported")


@EVERY
def test_only_an_algorithm_with_critics_lets_them_choose(name: str, tmp_path: Path) -> None:
    train(config(tmp_path / "run", updates=1, algorithm=name), suited({"algorithm": name}))
    held = suited({"algorithm": name})
    if algorithm(name).choosing_critics is None:
        with pytest.raises(CogError, match="without critics"):
            Policy.load(tmp_path / "run", critics=True)
        return
    policy = Policy.load(tmp_path / "run", critics=True)
    draws = np.random.default_rng(0).normal(size=(5, 4, policy.noise_dimensions)).astype(np.float32)
    images = None if held.frames is None else held.frames[:5]
    chosen = policy.choose(images, held.proprio[:5], draws)
    assert chosen.shape == (5, 3) and np.abs(chosen).max() <= 1


@EVERY
def test_switches_are_learned_or_refused_by_name(name: str) -> None:
    try:
        agent, buffer = made(name, switches=1)
    except UsageError as error:
        assert "network.switches is 1" in str(error)
        return
    agent.update(buffer.sample(agent.generator))
    batch = buffer.sample(agent.generator)
    mode = agent.average(batch.images, batch.proprio).mode()
    assert set(mode[:, -1].tolist()) <= {-1.0, 1.0}


def continuous(steps: Steps) -> Any:
    """The chain's steps as transitions: one-hot states, and one action component, positive for RIGHT."""
    one_hot = np.eye(STATES)
    sign = np.where(steps.actions == RIGHT, 1.0, -1.0)
    actions = sign * np.random.default_rng(0).uniform(0.3, 1.0, len(sign))
    transitions = steps_of(one_hot[steps.states], actions[:, None], steps.rewards, one_hot[steps.next_states])
    transitions.terminals = steps.terminals
    return transitions


def crossroads() -> Steps:
    """The chain, and as often as trajectory 1 a step from A to the dead end that pays 0.05 at once.

    Without it one step of improvement at B would do; with it A is left towards B only for the value of C.
    """
    problem = chain()
    first, second = problem.trajectory(A, [RIGHT, LEFT]), problem.trajectory(E, [RIGHT, RIGHT])
    # At B, seven in ten go to the dead end.
    return problem.steps(70 * first + 30 * second + 70 * [(A, LEFT, 0.05, DEAD_END)])


def led_to_c(name: str, bootstrap: bool = True) -> tuple[bool, np.ndarray]:
    """Whether the algorithm leads from A to C after a short training, and its actions (STATES,)."""
    fast = {"discount": 0.9, "steps": 1, "lr": 1e-3, "critic_lr": 1e-3, "actor_lr": 1e-3}
    fast |= {"model_updates": 200, "behaviour_lr": 1e-2, "behaviour_updates": 100}
    known = {field.name for field in dataclasses.fields(algorithm(name).Config)}
    settings = config(
        algorithm=name, batch_size=64, **{key: value for key, value in fast.items() if key in known}
    )
    buffer = Buffer(continuous(crossroads()), CPU, 64, "uniform", *settings.algorithm.returns())
    buffer.bootstrap *= bootstrap
    agent = create(settings, buffer)
    for _ in range(600):
        agent.update(buffer.sample(agent.generator))
    with torch.no_grad():
        actions = agent.average(None, torch.eye(STATES)).mode()[:, 0].numpy()
    return reaches_c(np.where(actions > 0, RIGHT, LEFT)), actions


@EVERY
def test_on_the_chain_it_stitches_as_value_iteration_does_or_fails_as_it_says(name: str) -> None:
    assert reaches_c(greedy(value_iteration(crossroads(), STATES, ACTIONS, 0.9, 3)))
    reached, actions = led_to_c(name)
    assert reached == algorithm(name).stitches, actions


@pytest.mark.parametrize("name", ["cql", "td3_bc"])
def test_on_the_chain_nothing_stitches_without_the_value_of_the_next_state(name: str) -> None:
    reached, actions = led_to_c(name, bootstrap=False)
    assert not reached, actions
