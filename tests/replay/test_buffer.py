"""Sampling, augmentation and what the buffer knows about rewards."""

import dataclasses

import numpy as np
import pytest
import torch

from cog.errors import CogError, UsageError
from cog.networks.images.augment import random_shift
from cog.online.replay import Replay
from cog.replay.buffer import Buffer, batch_counts, memory, multi_step
from cog.replay.frames import OnDevice, OnHost
from cog.training.execution import executed
from cog.training.setup import create
from tests.helpers.learner_data import config, noise, steps_of
from tests.training.test_execution import needs_cuda

CPU = torch.device("cpu")


def drawn_sources(buffer: Buffer, batches: int) -> np.ndarray:
    """Source counts (batches, sources), recovered from the drawn actions themselves."""
    owner = {tuple(a): int(s) for a, s in zip(buffer.actions.tolist(), buffer.source.tolist(), strict=True)}
    generator = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(batches):
        batch = buffer.sample(generator)
        rows.append(np.bincount([owner[tuple(a)] for a in batch.actions.tolist()], minlength=2))
    return np.array(rows)


def test_balanced_batches_hold_exactly_the_shares_of_the_merge() -> None:
    data = noise(frames=300)
    data.sources[0]["share"], data.sources[1]["share"] = 0.25, 0.75
    buffer = Buffer(data, CPU, 32, "balanced", 0.9)
    counts = drawn_sources(buffer, 20)
    assert (counts == [8, 24]).all()
    assert buffer.shares() == {"task:new": 0.25, "prior:old": 0.75}


def test_uniform_batches_follow_the_sizes_of_the_sources_within_three_sigma() -> None:
    data = noise(frames=301)  # 100 task steps of 300
    buffer = Buffer(data, CPU, 50, "uniform", 0.9)
    counts = drawn_sources(buffer, 60).sum(0)
    sigma = np.sqrt(3000 * (1 / 3) * (2 / 3))
    assert abs(counts[0] - 1000) < 3 * sigma
    assert buffer.shares()["task:new"] == counts[0] / 3000


@pytest.mark.parametrize("size", [1, 7, 128])
def test_batch_counts_add_up_and_are_off_by_less_than_one(size: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(50):
        shares = list(rng.dirichlet(np.ones(4)))
        counts = batch_counts(shares, size)
        assert sum(counts) == size
        assert all(abs(count - share * size) < 1 for count, share in zip(counts, shares, strict=True))


@pytest.mark.parametrize("shares", [[0.0, 0.0], [-0.5, 1.5], [float("nan"), 1.0]])
def test_impossible_shares_are_refused(shares: list[float]) -> None:
    with pytest.raises(CogError, match="shares"):
        batch_counts(shares, 8)


def test_a_source_with_a_share_but_no_transitions_is_refused_by_name() -> None:
    data = noise()
    data.source[:] = 0
    with pytest.raises(CogError, match="prior:old"):
        Buffer(data, CPU, 8, "balanced", 0.9)


@pytest.mark.parametrize(
    ("shares", "size", "told"),
    [
        ([0.003, 0.997], 128, r"task:0 has a share of 0\.003, too little for a batch of 128.*at least 334"),
        ([1 / 40] * 40, 32, r"task:32 has a share of 0\.025.*at least 40"),
    ],
)
def test_a_source_that_gets_nothing_of_a_batch_is_refused(shares: list[float], size: int, told: str) -> None:
    data = noise()
    data.source = np.arange(len(data.actions)) % len(shares)
    data.sources = [
        {"role": "task", "name": str(number), "share": share, "steps": 1}
        for number, share in enumerate(shares)
    ]
    buffer = Buffer(data, CPU, size, "balanced", 0.9)
    with pytest.raises(UsageError, match=told):
        buffer.refuse_starved(size, "choose at least {size}")
    buffer.refuse_starved(334, "")
    Buffer(data, CPU, size, "uniform", 0.9).refuse_starved(size, "")


def test_an_offline_half_that_leaves_out_a_source_is_refused_and_other_mixes_are_not() -> None:
    data = noise()
    data.sources[0]["share"], data.sources[1]["share"] = 0.15, 0.85
    buffer = Buffer(data, CPU, 6, "balanced", 0.95)
    buffer.refuse_starved(6, "")
    with pytest.raises(
        UsageError, match=r"task:new.*0\.15.*a batch of 3: .*half of a batch must be at least 7"
    ):
        Replay(buffer, "half", 6, 1)
    Replay(buffer, "online", 6, 1)


def test_gathered_frames_are_those_before_and_after_the_step_as_bytes() -> None:
    data = noise()
    data.frame_index = np.array([0, 2, 4, 57])  # gaps: frames between episodes belong to no step
    for name in ("actions", "rewards", "terminals", "source"):
        setattr(data, name, getattr(data, name)[:4])
    buffer = Buffer(data, CPU, 4, "uniform", 0.9)
    batch = buffer.gather(torch.tensor([3, 0, 1]))
    assert batch.images is not None and batch.next_images is not None
    assert batch.images.dtype == torch.uint8
    assert np.array_equal(batch.images.permute(0, 2, 3, 1).numpy(), data.frames[[57, 0, 2]])
    assert np.array_equal(batch.next_images.permute(0, 2, 3, 1).numpy(), data.frames[[58, 1, 3]])
    assert np.array_equal(batch.next_proprio.numpy(), data.proprio[[58, 1, 3]])
    expected = [0.9 * (not data.terminals[i]) for i in (3, 0, 1)]
    assert batch.bootstrap.tolist() == pytest.approx(expected)


def test_one_step_episodes_keep_their_own_frames_and_terminal() -> None:
    states = np.arange(6.0).reshape(6, 1)
    data = steps_of(states, np.zeros((6, 1)), np.array([0, 1, 0, 1, 0, 1.0]), states + 100)
    batch = Buffer(data, CPU, 6, "uniform", 0.9).gather(torch.arange(6))
    assert batch.next_proprio[:, 0].tolist() == [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]
    assert batch.bootstrap.tolist() == pytest.approx([0.9, 0, 0.9, 0, 0.9, 0])


def test_memory_is_announced_before_anything_moves() -> None:
    data = noise()
    said: list[str] = []
    Buffer(data, CPU, 8, "balanced", 0.9, on_message=said.append)
    assert len(said) == 1 and "60 frames" in said[0] and "cpu" in said[0]
    assert memory(data) >= data.frames.nbytes


def test_frames_that_do_not_fit_stay_on_the_host_and_give_the_same_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = noise()
    near = Buffer(data, CPU, 8, "balanced", 0.9)
    said: list[str] = []
    monkeypatch.setattr("cog.replay.frames.free_memory", lambda device: data.frames.nbytes / 0.7 - 1)
    far = Buffer(data, CPU, 8, "balanced", 0.9, on_message=said.append)
    assert "frames in host memory" in said[0]
    one, two = (buffer.sample(torch.Generator().manual_seed(0)) for buffer in (near, far))
    for left, right in zip(one, two, strict=True):
        assert left is right is None or torch.equal(left, right)
    monkeypatch.setattr("cog.replay.frames.free_memory", lambda device: data.frames.nbytes / 0.7 + 1)
    assert isinstance(Buffer(data, CPU, 8, "balanced", 0.9).frames[0], OnDevice)


@needs_cuda
def test_frames_fetched_from_the_host_train_as_those_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    device = torch.device("cuda")
    settings = config(device="cuda")
    near = Buffer(noise(), device, 8, "balanced", 0.9)
    monkeypatch.setattr("cog.replay.frames.free_memory", lambda device: 0)
    far = Buffer(noise(), device, 8, "balanced", 0.9)
    assert isinstance(far.frames[0], OnHost)
    one, two = create(settings, near), create(settings, far)
    for _ in range(20):
        one.update(near.sample(one.generator))
        two.update(far.sample(two.generator))
    for left, right in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    assert torch.equal(near.drawn, far.drawn)
    with pytest.raises(CogError, match="leave out --graphed"):
        executed(two, far, dataclasses.replace(settings, graphed=True))


def test_twins_share_the_transitions_and_count_apart() -> None:
    first = Buffer(noise(), CPU, 8, "balanced", 0.9)
    second = first.twin()
    first.sample(torch.Generator().manual_seed(0))
    assert first.frames is second.frames and first.proprio is second.proprio
    assert (int(first.drawn.sum()), int(second.drawn.sum())) == (8, 0)


def test_returns_are_bounded_by_one_reward_where_it_ends_the_episode_and_by_a_series_otherwise() -> None:
    data = noise()
    assert Buffer(data, CPU, 8, "uniform", 0.9).return_bounds() == (0.0, 10.0)
    data.terminals = np.zeros_like(data.terminals)
    assert Buffer(data, CPU, 8, "uniform", 0.9).return_bounds() == pytest.approx((0.0, 100.0))
    data.rewards = data.rewards - 1
    assert Buffer(data, CPU, 8, "uniform", 0.9).return_bounds() == pytest.approx((-10.0, 90.0))


def test_shift_cuts_a_window_of_the_padded_image_for_each_sample() -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(1, 256, (40, 3, 9, 7), dtype=np.uint8))
    shifted = random_shift(images, 2, torch.Generator().manual_seed(1))
    assert shifted.dtype == torch.uint8 and shifted.shape == images.shape
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    found = set()
    for i in range(40):
        windows = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if torch.equal(padded[i, :, y : y + 9, x : x + 7], shifted[i])
        ]
        assert len(windows) == 1
        found.add(windows[0])
    assert len(found) > 10
    again = random_shift(images, 2, torch.Generator().manual_seed(1))
    assert torch.equal(again, shifted)
    assert random_shift(images, 0, None) is images


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_several_steps_are_summed_as_a_plain_loop_does(steps: int) -> None:
    rng = np.random.default_rng(steps)
    lengths, discount = [1, 4, 2, 6, 3], 0.8
    rewards = rng.normal(size=sum(lengths)).astype(np.float32)
    terminals, frame_index, spans = np.zeros(len(rewards), bool), [], []
    step = frame = 0
    for number, length in enumerate(lengths):
        terminals[step + length - 1] = number % 2 == 0  # the others are cut off
        for place in range(length):
            taken = min(steps, length - place)
            total = sum(discount**i * rewards[step + place + i] for i in range(taken))
            over = terminals[step + place + taken - 1]
            spans.append((total, 0.0 if over else discount**taken, frame + place + taken))
            frame_index.append(frame + place)
        step, frame = step + length, frame + length + 1
    found = multi_step(rewards, terminals, np.array(frame_index), discount, steps)
    for got, wanted in zip(found, zip(*spans, strict=True), strict=True):
        assert np.allclose(got, wanted, atol=1e-5)
