"""Episodes that share batches are those of a plain loop over one environment each."""

from contextlib import closing

import numpy as np
import pytest

from cog.envs.make import Environments, Scene, make_environment
from cog.errors import CogError
from cog.evaluation.rollout import Group, act_side_by_side
from tests.helpers.toy_recipe import ENV

SCENE = Scene(ENV, (16, 16, 3), 9, terminate_on_success=False)
GROUP = Group("left", (4, 6, 8), (31, 32, 33))
STREAM = 17


class Watched:
    """Goes right with the noise, a little faster the further it is; remembers the batches it saw."""

    def __init__(self):
        self.batches = []

    def __call__(self, images, poses, noise):
        self.batches.append((images.copy(), poses.copy(), noise.copy()))
        return np.clip(noise.sum(1) + poses, -1, 1).astype(np.float32)


def alone(seed, draws):
    """The actions (T, A) of one episode that runs alone."""
    env = make_environment(SCENE)
    rng = np.random.default_rng([seed, STREAM])
    observation, _ = env.reset(seed=seed, options={"start": "left"})
    actions, over = [], False
    while not over:
        noise = rng.standard_normal((draws, 8), np.float32)
        actions.append(np.clip(noise.sum(0) + observation["proprio"], -1, 1).astype(np.float32))
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        over = terminated or truncated
    env.close()
    return np.stack(actions)


@pytest.mark.parametrize("draws", [1, 3])
def test_each_episode_acts_as_it_would_alone(draws):
    with closing(Environments(SCENE, 5)) as environments:
        episodes = act_side_by_side(environments, GROUP, Watched(), draws, STREAM)
    assert [episode.seed for episode in episodes] == list(GROUP.seeds)
    for episode in episodes:
        np.testing.assert_array_equal(np.stack(episode.actions), alone(episode.seed, draws))


def test_an_episode_has_the_row_of_its_number_and_the_others_stay_empty():
    act = Watched()
    with closing(Environments(SCENE, 5)) as environments:
        act_side_by_side(environments, GROUP, act, 1, STREAM)
    cameras, poses, noise = act.batches[0]
    images = cameras["image"]
    assert images.shape == (5, 16, 16, 3) and poses.shape == (5, 1) and noise.shape == (5, 1, 8)
    for rows in (images, poses, noise):
        assert [bool(rows[row].any()) for row in range(5)] == [False, True, False, True, True]  # 6, 8, 4


def test_without_draws_the_policy_gets_no_noise():
    act = Watched()
    with closing(Environments(SCENE, 3)) as environments:
        act_side_by_side(environments, Group("left", (0,), (1,)), act, 0, STREAM)
    assert act.batches[0][2].shape == (3, 0, 8)


def test_an_episode_ends_at_success_only_where_that_is_asked_for():
    def right(images, poses, noise):
        return np.ones((len(poses), 8), np.float32)

    with closing(Environments(SCENE, 1)) as environments:
        group = Group("middle", (0,), (1,))
        (whole,) = act_side_by_side(environments, group, right, 0, STREAM)
        (ended,) = act_side_by_side(environments, group, right, 0, STREAM, end_at_success=True)
    assert len(whole) == 9 and whole.truncated
    assert len(ended) < 9 and ended.success and not ended.over


def test_a_policy_that_fails_late_is_named_with_the_frame_and_the_seeds():
    def failing(images, poses, noise, seen=[]):  # noqa: B006 - counts its calls
        seen.append(1)
        if len(seen) == 4:
            raise CogError("the policy's actions in row 3 are not finite")
        return np.zeros((5, 8), np.float32)

    said = rf"{ENV}, frame 3 of the episodes with seeds 32 in row 1, 33 in row 3, 31 in row 4: the policy's"
    with closing(Environments(SCENE, 5)) as environments, pytest.raises(CogError, match=said):
        act_side_by_side(environments, GROUP, failing, 1, STREAM)
