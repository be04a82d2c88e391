"""However an update is executed, it is the same update; what it was not made for is refused."""

import dataclasses
import shutil
from typing import Any

import pytest
import torch

from cog.algorithms.cql import CQL
from cog.algorithms.shared.base import Algorithm
from cog.errors import CogError, UsageError
from cog.experiments.bench.naive_cql import NaivePlan
from cog.replay.buffer import Batch, Buffer
from cog.training.execution import Compiled, executed
from cog.training.setup import create, usable_device
from tests.helpers.learner_data import config, noise

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a C++ compiler"
)


def made(device: str = "cpu", images: bool = True, **changes: object) -> tuple[Algorithm[Any], Buffer]:
    """A small agent and its buffer."""
    settings = config(device=device, **changes)
    buffer = Buffer(noise(images=images), torch.device(device), settings.batch_size, settings.sampling, 0.9)
    return create(settings, buffer), buffer


def widened(batch: Batch) -> Batch:
    """The batch in float64."""
    return Batch(
        batch.images,
        batch.next_images,
        *(field.double() for field in batch[2:] if isinstance(field, torch.Tensor)),
    )


def distance(agent: Algorithm[Any], other: Algorithm[Any]) -> float:
    """Largest difference of any weight."""
    pairs = zip(agent.parameters(), other.parameters(), strict=True)
    return max(float((one - two).detach().abs().max()) for one, two in pairs)


@pytest.mark.parametrize("sharing", ["shared", "separate"])
@pytest.mark.parametrize("plan", ["repeated", "encoded once"])
def test_all_plans_take_the_same_steps_in_float64(plan: str, sharing: str) -> None:
    changes = {"sharing": sharing, "bc_weight": 0.3, "shift": 2, "clip_gradient": 1.0}
    (ours, buffer), (naive, _) = made(**changes), made(**changes)
    assert isinstance(naive, CQL)
    for agent in (ours, naive):
        agent.double()
    naive.gradients = NaivePlan(naive, plan)  # type: ignore[arg-type]
    before = [weight.detach().clone() for weight in ours.parameters()]
    for _ in range(10):
        batch = widened(buffer.sample(ours.generator))
        buffer.sample(naive.generator)  # keep both generators in step
        mine, theirs = ours.update(batch), naive.update(batch)
        for name in ("td_loss", "conservative_gap", "q_policy", "actor_loss"):
            assert float(mine[name]) == pytest.approx(float(theirs[name]), rel=1e-9)
    assert distance(ours, naive) < 1e-9
    moved = max(
        float((new - old).detach().abs().max()) for new, old in zip(ours.parameters(), before, strict=True)
    )
    assert moved > 1e-3


def test_the_reference_plan_draws_a_crop_for_every_pass() -> None:
    agent, buffer = made(shift=2)
    assert isinstance(agent, CQL)
    batch = buffer.sample(agent.generator)
    draws = agent.draws(len(batch.actions))
    losses = []
    for plan in ("reference", "reference", "repeated", "repeated"):
        found, _ = NaivePlan(agent, plan).losses(batch, draws)  # type: ignore[arg-type]
        losses.append(found["critic"].item())
    assert losses[0] != losses[1] and losses[2] == losses[3]


@pytest.mark.parametrize("algorithm", ["cql", "bc"])
def test_gradients_draw_no_random_number(algorithm: str) -> None:
    agent, buffer = made(algorithm=algorithm, shift=2)
    batch = buffer.sample(agent.generator)
    draws = agent.draws(len(batch.actions))
    before, everywhere = agent.generator.get_state(), torch.get_rng_state()
    agent.gradients(batch, draws, agent.phases()[0])
    assert torch.equal(agent.generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), everywhere)


@needs_compiler
def test_compiled_updates_take_the_same_steps_and_refuse_what_they_were_not_compiled_for() -> None:
    changes = {"bc_updates": 2, "images": False}  # compiled faster than convolutions are
    (plain, buffer), (fast, same) = made(**changes), made(compiled=True, **changes)  # type: ignore[arg-type]
    update = executed(fast, same, fast.settings)
    for number in range(6):  # the warm-up and what follows are compiled apart
        expected = plain.update(buffer.sample(plain.generator))
        found = update()
        assert found.keys() == expected.keys(), number
        for name, value in expected.items():
            assert float(found[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-4), name
    assert distance(plain, fast) < 1e-3
    with pytest.raises(CogError, match="compiled update is for other inputs"):
        fast.update(same.sample(fast.generator, 4))
    changed = dataclasses.replace(fast.config, conservative_weight=0.1)
    fast.settings = dataclasses.replace(fast.settings, algorithm=changed)  # type: ignore[type-var]
    with pytest.raises(CogError, match="compiled update is for other inputs"):
        update()


def test_without_a_compiler_the_update_stays_as_it_is_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (plain, buffer), (agent, same) = made(), made(compiled=True)
    said: list[str] = []
    update = executed(agent, same, agent.settings, said.append)
    for _ in range(2):
        update()
        plain.update(buffer.sample(plain.generator))
    assert not isinstance(agent.gradients, Compiled) and "compiler" in said[0]
    assert distance(plain, agent) == 0


def test_errors_of_the_update_itself_are_not_taken_for_other_inputs() -> None:
    def broken(batch: Batch, draws: object, phase: str) -> object:
        raise RuntimeError("out of memory")

    compiled = Compiled(lambda batch, draws, phase: ({}, {}))
    compiled.function, compiled.known = broken, {"all"}  # type: ignore[assignment]
    agent, buffer = made()
    with pytest.raises(RuntimeError, match="out of memory"):
        compiled(buffer.sample(agent.generator), None, "all")


def test_a_graph_needs_cuda() -> None:
    agent, buffer = made()
    with pytest.raises(UsageError, match="graphed needs CUDA"):
        executed(agent, buffer, dataclasses.replace(agent.settings, graphed=True))


@needs_cuda
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("bc_updates", [3, 6])
def test_a_graph_takes_the_same_steps_through_the_end_of_a_warm_up(
    compiled: bool, bc_updates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    changes = {"device": "cuda", "bc_updates": bc_updates, "schedule": "cosine", "compiled": compiled}
    (plain, buffer), (agent, same) = made(**changes), made(graphed=True, **changes)  # type: ignore[arg-type]
    one, other = executed(plain, buffer, plain.settings), executed(agent, same, agent.settings)
    for _ in range(16):
        one(), other()
    assert distance(plain, agent) < 1e-4
    assert torch.equal(plain.generator.get_state(), agent.generator.get_state())
    agent.settings = dataclasses.replace(agent.settings, shift=3)
    with pytest.raises(CogError, match="captured as a CUDA graph"):
        other()


@needs_cuda
@pytest.mark.parametrize("sampling", ["balanced", "uniform"])
def test_an_update_never_waits_for_the_device(sampling: str) -> None:
    agent, buffer = made(device="cuda", sampling=sampling)
    update = executed(agent, buffer, agent.settings)
    update()
    torch.cuda.set_sync_debug_mode("error")
    try:
        update()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_tf32_needs_cuda() -> None:
    with pytest.raises(UsageError, match="tf32 needs CUDA"):
        usable_device(config(precision="tf32"))
