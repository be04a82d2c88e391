"""A success classifier with a history judges a frame by those before it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cog.classifier.config import ClassifierConfig
from cog.classifier.fit import classify
from cog.classifier.network import judge, open_classifier
from cog.classifier.sight import Sight
from cog.datasets.episode import Episode
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.errors import CogError, UsageError
from cog.networks.config import NetworkConfig
from cog.networks.encoder import ObservationShape
from tests.conftest import make_episode
from tests.history.stacks import episode, plain_images, plain_pose


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.integers(1, 4),
    st.sampled_from(["frames", "pose", "both"]),
    st.integers(0, 99),
)
def test_each_frame_is_shown_with_those_before_it_in_its_episode(
    steps: list[int], depth: int, of: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    episodes = [episode(rng, length, ("image", "wrist")) for length in steps]
    # A classifier judges the frames after each step, so those are what it can have seen.
    images = {
        name: np.concatenate([one.pictures()[name][1:] for one in episodes]) for name in ("image", "wrist")
    }
    poses = np.concatenate([one.proprio[1:] for one in episodes])  # type: ignore[index]
    actions = np.concatenate([one.actions for one in episodes])
    starts = np.cumsum([0, *steps[:-1]])
    single = ObservationShape((5, 4, 3), 3, (("wrist", (5, 4, 1)),))
    shape = single.with_history(NetworkConfig(history=depth, history_of=of), 2)
    sight = Sight(shape, images, poses, actions, starts)
    seen, felt = sight(slice(None))
    some, _ = sight(np.array([len(poses) - 1, 0]))
    assert isinstance(seen, tuple) and isinstance(some, tuple) and felt is not None
    row = 0
    for one in episodes:
        assert one.proprio is not None
        for frame in range(len(one)):
            pictures = depth if of != "pose" else 1
            for camera, name in zip(seen, ("image", "wrist"), strict=True):
                wanted = plain_images(one.pictures()[name][1:], frame, pictures)
                np.testing.assert_array_equal(camera[row].permute(1, 2, 0), wanted)
            between = np.concatenate([one.actions[1:], np.zeros((1, 2), np.float32)])
            numbers = plain_pose(one.proprio[1:], between, frame, depth if of != "frames" else 1)
            np.testing.assert_array_equal(felt[row], numbers)
            row += 1
    assert torch.equal(some[0][0], seen[0][-1]) and torch.equal(some[1][1], seen[1][0])


def rising(rng: np.random.Generator, rises: bool) -> Episode:
    """Pictures of one brightness each, which falls from frame to frame; a success ends in a rise instead.

    The last frame alone does not tell: brightnesses overlap.
    """
    made = make_episode(rng, 3)
    levels = np.array([180, 140, 100, 60]) + int(rng.integers(0, 60))
    if rises:
        levels[3] = levels[2] + 40
    images = np.repeat(levels, 8 * 8 * 3).reshape(4, 8, 8, 3).astype(np.uint8)
    return Episode(**{**vars(made), "images": images, "success": rises})


def test_a_success_that_only_a_change_shows_is_learnt_from_two_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    episodes = [rising(rng, number % 2 == 0) for number in range(60)]
    write_dataset(tmp_path / "data", episodes, {"kind": "synthetic"})
    options: dict[str, Any] = {"updates": 150, "batch_size": 32, "shift": 0, "lr": 3e-3, "use_proprio": False}
    two = classify([tmp_path / "data"], ClassifierConfig(tmp_path / "two", history=2, **options))
    assert two[0].recall.value == 1.0 and two[0].precision is not None and two[0].precision.value == 1.0
    with pytest.raises(CogError, match="no threshold finds successes"):
        classify([tmp_path / "data"], ClassifierConfig(tmp_path / "one", **options))


def test_a_classifier_with_a_history_is_read_again_and_judges_an_episode_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    episodes = [rising(rng, number % 2 == 0) for number in range(30)]
    data = write_dataset(tmp_path / "data", episodes, {"kind": "synthetic"}).path
    options: dict[str, Any] = {"updates": 5, "batch_size": 8, "precision": 0.01, "history": 3}
    classify([data], ClassifierConfig(tmp_path / "judge", **options))
    found = open_classifier(tmp_path / "judge")
    assert found.network.shape.image == (8, 8, 9)
    assert found.network.shape.proprio == 3 * 6 + 2 * 8
    for one in open_dataset(data).episodes():
        assert one.images is not None and one.proprio is not None
        alone = judge(found.network, {"image": one.images[1:]}, one.proprio[1:], one.actions)
        np.testing.assert_array_equal(found(one), alone > found.threshold)
    other = Episode(**{**vars(episodes[0]), "actions": episodes[0].actions[:, :3]})
    with pytest.raises(CogError, match=r"needs actions of \(8,\); the data have \(3,\)"):
        found(other)
    with pytest.raises(UsageError, match="history is 0; it must be at least 1"):
        ClassifierConfig(tmp_path / "x", history=0)
