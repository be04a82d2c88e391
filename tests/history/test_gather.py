"""What the buffer gathers by index is what a plain loop over each episode finds; no border is crossed."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cog.datasets.transitions import from_episodes
from cog.errors import UsageError
from cog.networks.config import NetworkConfig
from cog.networks.encoder import ObservationShape, by_camera
from cog.networks.history import History
from cog.online.replay import Replay
from cog.replay.buffer import Buffer
from cog.replay.frames import OnHost
from tests.helpers.learner_data import noise
from tests.history.stacks import episode, plain_images, plain_pose

CPU = torch.device("cpu")
lengths = st.lists(st.integers(1, 7), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    lengths,
    st.integers(1, 5),
    st.sampled_from(["frames", "pose", "both"]),
    st.integers(1, 3),
    st.sampled_from([(), ("image",), ("image", "wrist")]),
    st.integers(0, 99),
)
def test_every_gathered_history_is_that_of_a_loop_over_its_episode(
    steps: list[int], depth: int, of: Any, span: int, cameras: tuple[str, ...], seed: int
) -> None:
    if of == "frames" and not cameras:
        of = "pose"
    rng = np.random.default_rng(seed)
    episodes = [episode(rng, length, cameras, state=not cameras) for length in steps]
    network = NetworkConfig(history=depth, history_of=of)
    buffer = Buffer(from_episodes(episodes, "made"), CPU, 4, "uniform", 0.9, span, network=network)
    batch = buffer.gather(torch.arange(sum(steps)))
    images, poses = depth if of != "pose" else 1, depth if of != "frames" else 1
    row = 0
    for one in episodes:
        numbers = one.proprio if cameras else one.state
        assert numbers is not None and one.terminals is not None
        for step in range(len(one)):
            ends = [later for later in range(step, len(one)) if one.terminals[later]]
            last = min(step + span, len(one), *(end + 1 for end in ends[:1]))  # frame after the last step
            for frame, pose, shown in (
                (step, batch.proprio, batch.images),
                (last, batch.next_proprio, batch.next_images),
            ):
                expected = plain_pose(numbers, one.actions, frame, poses)
                np.testing.assert_array_equal(pose[row].numpy(), expected)
                seen = () if shown is None else by_camera(shown)
                assert len(seen) == len(cameras)
                for camera, name in zip(seen, cameras, strict=True):
                    wanted = plain_images(one.pictures()[name], frame, images)
                    np.testing.assert_array_equal(camera[row].permute(1, 2, 0).numpy(), wanted)
            row += 1


def test_the_first_frame_is_repeated_and_no_action_lies_before_it() -> None:
    rng = np.random.default_rng(0)
    episodes = [episode(rng, 2, state=True), episode(rng, 3, state=True)]
    network = NetworkConfig(history=3)
    buffer = Buffer(from_episodes(episodes, "made"), CPU, 4, "uniform", 0.9, network=network)
    first, second = episodes[1].state[0], episodes[1].state[1]  # type: ignore[index]
    batch = buffer.gather(torch.tensor([2]))  # the first step of the second episode
    zero = np.zeros(2, np.float32)
    assert batch.proprio[0].tolist() == np.concatenate([first, first, first, zero, zero]).tolist()
    after = np.concatenate([first, first, second, zero, episodes[1].actions[0]])
    assert batch.next_proprio[0].tolist() == after.tolist()


def test_frames_in_host_memory_show_the_same_history(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NetworkConfig(history=3)
    near = Buffer(noise(), CPU, 8, "balanced", 0.9, network=network)
    monkeypatch.setattr("cog.replay.buffer.fitting", lambda size, device: OnHost)
    far = Buffer(noise(), CPU, 8, "balanced", 0.9, network=network)
    one, two = (buffer.sample(torch.Generator().manual_seed(0)) for buffer in (near, far))
    assert isinstance(one.images, torch.Tensor) and isinstance(two.images, torch.Tensor)
    assert one.images.shape == (8, 9, 16, 16) and torch.equal(one.images, two.images)
    assert one.images.is_contiguous(memory_format=torch.channels_last)


def test_a_history_of_one_frame_changes_nothing() -> None:
    plain = Buffer(noise(), CPU, 8, "balanced", 0.9, 2)
    one = Buffer(noise(), CPU, 8, "balanced", 0.9, 2, network=NetworkConfig(history=1, history_of="pose"))
    assert plain.shape == one.shape and "history" not in one.shape.to_json() and one.past is None
    for first, second in zip(
        plain.sample(torch.Generator().manual_seed(0)),
        one.sample(torch.Generator().manual_seed(0)),
        strict=True,
    ):
        assert (first is None and second is None) or torch.equal(first, second)
    for first, second in zip(plain.standardisation(), plain.pose_statistics(), strict=True):
        assert torch.equal(first, second)


def test_poses_are_standardised_alike_in_every_frame_and_actions_not_at_all() -> None:
    buffer = Buffer(noise(), CPU, 8, "uniform", 0.9, network=NetworkConfig(history=3))
    (mean, scale), (means, scales) = buffer.pose_statistics(), buffer.standardisation()
    assert means.tolist() == [*mean.tolist()] * 3 + [0.0] * 6
    assert scales.tolist() == [*scale.tolist()] * 3 + [1.0] * 6


def test_online_episodes_show_their_history_as_offline_ones_do() -> None:
    rng = np.random.default_rng(0)
    episodes = [episode(rng, steps, ("image",)) for steps in (3, 1, 4)]
    network = NetworkConfig(history=3)
    whole = Buffer(from_episodes(episodes, "online"), CPU, 8, "uniform", 0.9, 2, network=network)
    replay = Replay(
        Buffer(from_episodes(episodes[:1], "old"), CPU, 8, "uniform", 0.9, network=network), "half", 8, 2
    )
    for part in (episodes[:1], episodes[1:]):
        replay.extend([dataclasses.replace(one) for one in part])
    assert replay.online is not None and replay.online.shape == whole.shape
    everything = torch.arange(8)
    for one, other in zip(replay.online.gather(everything), whole.gather(everything), strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    assert replay.sample(torch.Generator().manual_seed(0)).proprio.shape == (8, 3 * 3 + 2 * 2)


@settings(max_examples=50, deadline=None)
@given(
    st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    st.integers(1, 9),
    st.integers(1, 6),
    st.sampled_from(["frames", "pose", "both"]),
    st.booleans(),
    st.integers(1, 5),
)
def test_the_shape_of_one_frame_is_found_again(
    image: Any, pose: int, depth: int, of: Any, feels: bool, actions: int
) -> None:
    single = ObservationShape(image, pose, (("wrist", (4, 4, 1)),) if image else ())
    network = NetworkConfig(history=depth, history_of=of, use_proprio=feels)
    lacking = depth > 1 and ((of == "frames" and image is None) or (of == "pose" and image and not feels))
    if lacking:
        with pytest.raises(UsageError, match=r"network.history_of: history of .* --network.history-of"):
            single.with_history(network, actions)
        return
    shape = single.with_history(network, actions)
    assert shape.single() == single and ObservationShape.from_json(shape.to_json()) == shape
    assert (shape.history is None) == (depth == 1)


def test_a_history_tells_its_order() -> None:
    assert History(3, 1, 4, 2).order() == ["images: the channels of 3 frames, the oldest first"]
    assert History(1, 2, 4, 2).order() == [
        "pose: 2 poses of 4, the oldest first, then the action between them, in [-1, 1]"
    ]


def test_a_history_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match=r"network.history is 0; it must be at least 1"):
        NetworkConfig(history=0)
