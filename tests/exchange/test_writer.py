"""The writer stores what it was given, says what is wrong with it, and publishes all or nothing."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog.datasets import writer as writer_module
from cog.datasets.action_scale import ActionScale
from cog.datasets.load import load
from cog.datasets.materialise import materialise
from cog.datasets.merge import write_merge
from cog.datasets.relabel.view import labelled, relabel
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.problem import DataError, Problem, mendable
from cog.datasets.storage.verify import verify
from cog.datasets.writer import DatasetWriter
from cog.errors import CogError, UsageError

STEPS = 4


def arrays(seed=0, steps=STEPS, size=6):
    """Arrays of an episode with images, by the names of `add_episode`."""
    rng = np.random.default_rng(seed)
    return {
        "actions": rng.uniform(-1, 1, (steps, 3)),
        "images": rng.integers(0, 256, (steps + 1, size, size, 3), dtype=np.uint8),
        "proprio": rng.normal(size=(steps + 1, 5)),
    }


def refused_second(folder, arrays, change, field, rule, remedy):
    """The dataset of three episodes of which the second, with a change, must be refused by these words."""
    with DatasetWriter(folder, image_size=None) as writer:
        writer.add_episode(**arrays(0))
        with pytest.raises(DataError) as caught:
            writer.add_episode(**arrays(1) | change)
        writer.add_episode(**arrays(2))
    problem = caught.value.problem
    assert (problem.episode, problem.field) == (1, field)
    assert rule in problem.rule and remedy in problem.remedy
    return writer.dataset


def written(folder, *episodes, **options):
    """A dataset of these episodes."""
    with DatasetWriter(folder, **options) as writer:
        for episode in episodes:
            writer.add_episode(**episode)
    return writer.dataset


def test_the_example_in_the_docstring_runs_and_is_ten_lines_at_most(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(writer_module)
    assert result.attempted >= 5 and result.failed == 0
    example = writer_module.DatasetWriter.__doc__
    assert sum(line.strip().startswith((">>>", "...")) for line in example.splitlines()) <= 10
    dataset = open_dataset(tmp_path / "data/mine")
    assert verify(dataset.path) == []
    assert (dataset.episode_count, dataset.step_count, dataset.success_count) == (3, 60, 1)
    assert dataset.environment["observations"] == {"image": [48, 48, 3], "proprio": [14]}
    view = relabel(dataset.path, "recorded_success", "success")
    assert (view.rewarded_steps, view.steps) == (1, 60)


def test_written_episodes_come_back_as_they_were_given(tmp_path):
    given = [arrays(seed) | {"rewards": np.arange(STEPS) + seed, "seed": seed} for seed in range(5)]
    dataset = written(tmp_path / "data", *given, image_size=None, episodes_per_shard=2)
    assert len(dataset.shards) == 3 and verify(dataset.path) == []
    for episode, wanted in zip(dataset.episodes(), given, strict=True):
        np.testing.assert_array_equal(episode.images, wanted["images"])
        np.testing.assert_array_equal(episode.actions, wanted["actions"].astype(np.float32))
        np.testing.assert_array_equal(episode.proprio, wanted["proprio"].astype(np.float32))
        np.testing.assert_array_equal(episode.signals["reward"], [0, *wanted["rewards"]])
        assert episode.seed == wanted["seed"] and episode.rewards is None


def test_states_are_stored_without_images(tmp_path):
    state = np.random.default_rng(0).normal(size=(STEPS + 1, 7))
    dataset = written(tmp_path / "data", {"actions": np.zeros((STEPS, 2)), "state": state})
    (episode,) = dataset.episodes()
    np.testing.assert_array_equal(episode.state, state.astype(np.float32))
    assert episode.images is None and dataset.environment["observations"] == {"state": [7]}


def test_images_are_stretched_to_the_square_by_averaging_and_put_red_first(tmp_path):
    blue_first = np.zeros((STEPS + 1, 8, 16, 3), np.uint8)
    blue_first[:, :, :8, 0] = 200  # blue on the left
    blue_first[:, ::2, 8:, 2] = 100  # every second line red on the right
    episode = arrays() | {"images": blue_first}
    (small,) = written(tmp_path / "data", episode, image_size=4, colour="bgr").episodes()
    assert small.images.shape == (STEPS + 1, 4, 4, 3)
    assert (small.images[:, :, :2] == [0, 0, 200]).all()
    assert (small.images[:, :, 2:] == [50, 0, 0]).all()
    (large,) = written(tmp_path / "large", episode, image_size=32, colour="bgr").episodes()
    assert large.images.shape == (STEPS + 1, 32, 32, 3) and (large.images[:, :, 0] == [0, 0, 200]).all()


def test_frames_may_come_one_by_one_and_differ_in_size(tmp_path):
    frames = [np.full((4 + number, 5, 3), number, np.uint8) for number in range(STEPS + 1)]
    (episode,) = written(tmp_path / "data", arrays() | {"images": iter(frames)}, image_size=8).episodes()
    assert (episode.images == np.arange(STEPS + 1, dtype=np.uint8).reshape(-1, 1, 1, 1)).all()


def test_without_a_pose_its_place_holds_a_constant_and_the_facts_say_so(tmp_path):
    episode = arrays()
    del episode["proprio"]
    dataset = written(tmp_path / "data", episode)
    (back,) = dataset.episodes()
    assert back.proprio.shape == (STEPS + 1, 1) and not back.proprio.any()
    assert dataset.environment["proprio_absent"] is True
    assert "proprio_absent" not in written(tmp_path / "with", arrays()).environment


def test_without_rewards_and_success_an_episode_is_prior_data(tmp_path):
    dataset = written(tmp_path / "data", arrays())
    assert dataset.signal_names == ("frame",)
    assert next(dataset.episodes()).signals["frame"].tolist() == list(range(STEPS + 1))
    assert relabel(dataset.path, "zero", "none").steps == STEPS
    with pytest.raises(
        CogError, match=r"'recorded' is unknown: the data hold no rewards of their own. Use one of: .*frame"
    ):
        relabel(dataset.path, "recorded", "r")


def test_success_is_a_flag_of_the_episode_or_of_each_frame(tmp_path):
    frames = [False, True, False, False, True]
    dataset = written(
        tmp_path / "data",
        arrays(0) | {"success": True},
        arrays(1) | {"success": False},
        arrays(2) | {"success": frames},
        arrays(3) | {"success": np.array([*frames[:4], False])},
    )
    episodes = list(dataset.episodes())
    assert [episode.success for episode in episodes] == [True, False, True, True]
    assert episodes[0].signals["success"].tolist() == [0, 0, 0, 0, 1]
    assert episodes[2].signals["success"].tolist() == frames
    view = relabel(dataset.path, "recorded_success", "success", terminate=False)
    assert [episode.rewards.tolist() for episode in labelled(dataset, view)] == [
        [0, 0, 0, 1],
        [0, 0, 0, 0],
        [1, 0, 0, 1],
        [1, 0, 0, 0],
    ]


def test_recorded_rewards_come_back_by_the_rule_recorded(tmp_path):
    rewards = [[0.5, -1.0, 0.0, 2.0], [0.0, 0.0, 0.25, 0.0]]
    dataset = written(tmp_path / "data", *(arrays(n) | {"rewards": r} for n, r in enumerate(rewards)))
    view = relabel(dataset.path, "recorded", "r", scale=2.0, terminate=False)
    back = [episode.rewards.tolist() for episode in labelled(dataset, view)]
    assert back == [[1.0, -2.0, 0.0, 4.0], [0.0, 0.0, 0.5, 0.0]]


def test_further_signals_are_kept_by_name(tmp_path):
    force = np.linspace(0, 3, STEPS + 1)
    dataset = written(tmp_path / "data", arrays() | {"signals": {"force": force}, "success": True})
    assert dataset.signal_names == ("success", "force")
    np.testing.assert_array_equal(next(dataset.episodes()).signals["force"], force.astype(np.float32))


numbers = st.floats(-1e3, 1e3, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, st.floats(0.01, 1e3)), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_an_action_scale_maps_both_ways(bounds, seed):
    low = np.array([low for low, _ in bounds])
    high = low + np.array([width for _, width in bounds])
    scale = ActionScale(tuple(low), tuple(high))
    actions = np.random.default_rng(seed).uniform(low, high, (20, len(low)))
    unit = scale.to_unit(actions)
    assert unit.dtype == np.float32 and (np.abs(unit) <= 1).all()
    np.testing.assert_allclose(scale.to_robot(unit), actions, atol=1e-6 * float((high - low).max()))
    np.testing.assert_array_equal(
        scale.to_unit(np.stack([low, (low + high) / 2, high]))[[0, 2]], [-(low**0), low**0]
    )
    assert ActionScale.of({"action_scale": scale.to_json()}) == scale


def test_the_scale_is_recorded_and_survives_a_copy(tmp_path):
    scale = ActionScale((-2.0, 0.0, 10.0), (2.0, 1.0, 30.0))
    actions = np.array([[-2, 0, 10], [2, 1, 30], [0, 0.5, 20], [1, 0.25, 25]])
    dataset = written(tmp_path / "data", arrays() | {"actions": actions}, action_scale=scale)
    relabel(dataset.path, "zero", "none")
    for folder in (tmp_path / "data", materialise(tmp_path / "data", tmp_path / "copy").path):
        copy = open_dataset(folder)
        found = ActionScale.of(copy.environment)
        assert found == scale
        np.testing.assert_array_equal(
            next(copy.episodes()).actions, [[-1, -1, -1], [1, 1, 1], [0, 0, 0], [0.5, -0.5, 0.5]]
        )
        np.testing.assert_array_equal(found.to_robot(next(copy.episodes()).actions), actions)


def test_measured_bounds_hold_every_action_and_a_constant_becomes_0():
    parts = [np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[-4.0, 5.0]])]
    scale = ActionScale.measured(parts)
    assert scale == ActionScale((-4.0, 4.0), (3.0, 6.0))
    np.testing.assert_allclose(scale.to_unit(parts[0]), [[3 / 7, 0], [1, 0]], rtol=1e-6)
    with pytest.raises(CogError, match="not finite"):
        ActionScale.measured([np.array([[np.nan]])])
    with pytest.raises(CogError, match="missing or differ"):
        ActionScale.measured([])
    for low, high in (((0.0,), (0.0,)), ((0.0,), (1.0, 1.0)), ((0.0,), (np.inf,)), ((), ())):
        with pytest.raises(UsageError, match="bounds"):
            ActionScale(low, high)


def test_data_of_different_scales_are_not_merged(tmp_path):
    one = ActionScale((-1.0,) * 3, (1.0,) * 3)
    other = ActionScale((-2.0,) * 3, (2.0,) * 3)
    for name, scale in (("one", one), ("other", other), ("plain", None)):
        dataset = written(tmp_path / name, arrays(), action_scale=scale)
        relabel(dataset.path, "zero", "none")
    for first, second in (("one", "other"), ("other", "plain")):
        with pytest.raises(CogError, match="scaled from different bounds"):
            write_merge(tmp_path / "m.json", [str(tmp_path / first)], [str(tmp_path / second)])
    for second in ("one", "plain"):  # bounds of -1 and 1 change nothing
        merge = write_merge(tmp_path / f"{second}.json", [str(tmp_path / "one")], [str(tmp_path / second)])
        assert len(load(merge).actions) == 2 * STEPS


WRONG = {
    "actions outside": ({"actions": np.full((4, 3), 1.8)}, "actions", "found 1.8 at step 0", "action_scale="),
    "actions flat": ({"actions": np.zeros(4)}, "actions", "must have 2 axes", "reshape"),
    "actions none": ({"actions": np.zeros((0, 3))}, "actions", "not be empty", "no step"),
    "actions objects": ({"actions": np.array([{}], object)}, "actions", "must be numbers", "convert"),
    "actions ragged": ({"actions": [[0.0], [0.0, 1.0]]}, "actions", "must be an array", "one length"),
    "actions nan": ({"actions": np.full((4, 3), np.nan)}, "actions", "finite", "repair"),
    "actions masked": ({"actions": np.ma.masked_greater(np.eye(4, 3), 0.5)}, "actions", "no masked", "place"),
    "rewards masked": ({"rewards": np.ma.masked_equal(np.arange(4), 2)}, "rewards", "no masked", "leave"),
    "images as floats": ({"images": np.zeros((5, 6, 6, 3))}, "images", "must be uint8", "0 to 255"),
    "images channels first": (
        {"images": np.zeros((5, 3, 6, 6), np.uint8)},
        "images",
        "(H, W, 3)",
        "channels",
    ),
    "images grey": ({"images": np.zeros((5, 6, 6), np.uint8)}, "images", "(H, W, 3)", "grey"),
    "images too few": ({"images": np.zeros((4, 6, 6, 3), np.uint8)}, "images", "5 rows for 4", "drop"),
    "images none": ({"images": []}, "images", "5 pictures for 4 actions", "add"),
    "no observation": ({"images": None, "proprio": None}, "images", "no observations", "pass images= or"),
    "pose alone": ({"images": None}, "images", "no observations", "as state="),
    "pictures that are none": ({"images": 5}, "images", "found int", "iterable"),
    "both": ({"state": np.zeros((5, 2))}, "images", "either images or state", "leave out"),
    "pose beside state": ({"images": None, "state": np.zeros((5, 2))}, "proprio", "come with images", "join"),
    "proprio too few": ({"proprio": np.zeros((4, 5))}, "proprio", "5 rows for 4", "add the observation"),
    "proprio inf": ({"proprio": np.full((5, 5), 1e300)}, "proprio", "finite in float32", "repair"),
    "proprio without width": ({"proprio": np.zeros((5, 0))}, "proprio", "not be empty", "reshape"),
    "proprio of another width": ({"proprio": np.zeros((5, 4))}, "observations", "same in all", "another"),
    "proprio gone": ({"proprio": None}, "proprio", "with all episodes or with none", "another dataset"),
    "rewards too many": ({"rewards": np.zeros(5)}, "rewards", "4 rows for 4", "its reward"),
    "rewards only here": ({"rewards": np.zeros(4)}, "signal_names", "same in all", "another dataset"),
    "success too few": ({"success": [True]}, "success", "5 rows", "add"),
    "signal taken": (
        {"success": True, "signals": {"success": np.zeros(5)}},
        "signals",
        "taken by the",
        "another",
    ),
    "signal text": ({"signals": {"x": ["a"] * 5}}, "signals[x]", "must be numbers", "convert"),
    "signal without a text for its name": (
        {"signals": {3: np.zeros(5)}},
        "signals",
        "is not text",
        "another",
    ),
    "success in words": ({"success": "false"}, "success", "numbers or booleans, found", "convert"),
    "success unknown": ({"success": np.nan}, "success", "must be True or False, found nan", "convert"),
    "success by half": ({"success": 0.5}, "success", "must be True or False, found 0.5", "convert"),
    "terminated twice over": ({"terminated": 2}, "terminated", "must be True or False, found 2", "convert"),
    "success ragged": ({"success": [[0.0], [0.0, 1.0]]}, "success", "must be an array", "one length"),
    "terminated in words": ({"terminated": "false"}, "terminated", "booleans, found", "convert"),
    "truncated twice": ({"truncated": [0, 1]}, "truncated", "True or False, found [0, 1]", "convert"),
    "seed": ({"seed": -1}, "seed", "must lie in", "leave it out"),
    "seed between": ({"seed": 1.5}, "seed", "be a whole number, got 1.5", "leave it out"),
    "seed in words": ({"seed": "x"}, "seed", "be a whole number, got 'x'", "leave it out"),
    "start": ({"start": "a\0"}, "start", "without NUL", "leave"),
    "start none": ({"start": None}, "start", "must be UTF-8 text without NUL, got None", "leave"),
    "behaviour undecoded": ({"behaviour": "\udce4"}, "behaviour", "must be UTF-8 text", "leave"),
    "options": ({"options": {"x": np.nan}}, "options", "must be JSON", "leave"),
    "options without order": ({"options": {"x": 1, 2: 3}}, "options", "must be JSON", "leave"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_stored_is_refused_by_episode_field_rule_and_remedy(case, tmp_path):
    dataset = refused_second(tmp_path / "data", arrays, *WRONG[case])
    back = [episode.proprio for episode in dataset.episodes()]
    np.testing.assert_array_equal(back, [arrays(n)["proprio"].astype(np.float32) for n in (0, 2)])


def test_actions_outside_the_scale_are_refused_but_rounding_is_not(tmp_path):
    scale = ActionScale((-0.1,) * 3, (0.1,) * 3)
    with DatasetWriter(tmp_path / "data", action_scale=scale) as writer:
        writer.add_episode(
            **arrays() | {"actions": np.full((4, 3), np.float32(0.1))}
        )  # above 0.1 by rounding
        with pytest.raises(DataError, match=r"component 0 must lie in \[-0.1, 0.1\], found 0.11 at step 0"):
            writer.add_episode(**arrays() | {"actions": np.full((4, 3), 0.11)})
        with pytest.raises(DataError, match="must have 3 components by the action scale, found 2"):
            writer.add_episode(**arrays() | {"actions": np.zeros((4, 2))})
    assert (next(writer.dataset.episodes()).actions == 1).all()


@pytest.mark.parametrize("shape", [(2,), (5, 2), (4,), ()])
def test_actions_of_another_width_than_the_scale_s_are_refused_both_ways(shape):
    scale = ActionScale((-1.0,) * 3, (2.0,) * 3)
    for convert in (scale.to_robot, scale.to_unit):
        with pytest.raises(UsageError, match="must have 3 components by the action scale, found shape"):
            convert(np.zeros(shape))


def test_nothing_is_published_before_the_end_nor_if_the_block_fails(tmp_path):
    folder = tmp_path / "data"
    with pytest.raises(ZeroDivisionError), DatasetWriter(folder, episodes_per_shard=2) as writer:
        for seed in range(5):
            writer.add_episode(**arrays(seed))
        assert len(list((folder / "shards").glob("*.h5"))) == 2  # written as they fill
        assert not (folder / "manifest.json").exists()
        raise ZeroDivisionError
    assert not folder.exists() and writer.dataset is None
    written(folder, arrays())


def test_a_writer_without_episodes_or_outside_its_block_is_refused(tmp_path):
    with pytest.raises(CogError, match="at least one episode"), DatasetWriter(tmp_path / "data"):
        pass
    assert not (tmp_path / "data").exists()
    with pytest.raises(CogError, match="within: with DatasetWriter"):
        DatasetWriter(tmp_path / "data").add_episode(**arrays())


def test_a_folder_that_holds_something_is_left_alone(tmp_path, frozen):
    dataset = written(tmp_path / "data", arrays())
    before = frozen(dataset.path)
    with pytest.raises(CogError, match="not empty"), DatasetWriter(dataset.path):
        pass
    assert frozen(dataset.path) == before


@pytest.mark.parametrize("option", ["environment", "origin"])
@pytest.mark.parametrize("value", [np.float32(0.7), float("nan"), {"x": 1, 2: 3}])
def test_facts_that_are_no_json_are_refused_before_an_episode_is_taken(option, value, tmp_path):
    with pytest.raises(UsageError, match=f"{option}: field 'table_height' must be JSON"):
        DatasetWriter(tmp_path / "data", **{option: {"id": "room 3", "table_height": value}})
    assert not (tmp_path / "data").exists()


def test_facts_are_recorded_as_they_were_when_the_writer_was_made(tmp_path):
    facts = {"id": "room 3", "joints": {9: "wrist", 10: "gripper"}}
    with DatasetWriter(tmp_path / "data", environment=facts) as writer:
        facts["joints"][11] = np.float32(0.7)
        writer.add_episode(**arrays())
    assert open_dataset(tmp_path / "data").environment["joints"] == {"9": "wrist", "10": "gripper"}


@pytest.mark.parametrize(
    "options",
    [
        {"image_size": 0},
        {"image_size": (8, 8)},
        {"image_size": "8"},
        {"image_size": True},
        {"colour": "hsv"},
        {"episodes_per_shard": 0},
        {"success_by": "Any"},
        {"action_scale": {"low": [-1.0], "high": [1.0]}},
        {"interface": "arm"},
        {"success_by": None},
    ],
)
def test_options_that_do_not_exist_are_wrong_usage(options, tmp_path):
    with pytest.raises(UsageError, match=next(iter(options)).split("_")[0]):
        DatasetWriter(tmp_path / "data", **options)


def test_damage_in_data_that_were_not_collected_names_a_remedy_that_serves_them(tmp_path):
    dataset = written(tmp_path / "data", arrays())
    shard = dataset.path / dataset.shards[0].file
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(DataError) as caught:
        dataset.read(0)
    assert "make it again" in str(caught.value) and "--repair" not in str(caught.value)
    found = Problem(shard, "file", "differs")
    assert "import it again" in mendable(found, {"kind": "written", "origin": {"kind": "import"}}).remedy
    assert mendable(found, {"env": "cog/DrawerGrasp-v0"}) == found, "what was collected is collected again"
