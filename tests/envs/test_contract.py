"""A scene that breaks any rule of its contract, at any time, is named in one line; what is written opens."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.episode import Episode
from cog.datasets.storage.container import MANIFEST
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.shard import decode_shard, encode_shard, read_shard
from cog.envs.contract import Contract, flag, number
from cog.envs.make import Environments, make_environment
from cog.errors import CogError
from cog.evaluation.check import check_scene
from cog.evaluation.rollout import Group, act_side_by_side
from cog.networks.encoder import ObservationShape
from tests.helpers.breaking_scene import Breaking, Returned

ENV = "tests.helpers.breaking_scene:toy/Breaking-v0"
SPEC = CollectionSpec(
    episodes=6,
    behaviours=(BehaviourChoice("go"),),
    starts=("left",),
    env=ENV,
    image_size=8,
    max_episode_steps=4,
    episodes_per_shard=2,
)


def put(name: str, value: Any) -> Callable[[Returned], Any]:
    """Another observation `name`."""

    def change(returned: Returned) -> Any:
        returned[0][name] = value
        return tuple(returned)

    return change


def told(*path: str, value: Any) -> Callable[[Returned], Any]:
    """Another entry of the info."""

    def change(returned: Returned) -> Any:
        entry = returned[-1]
        for name in path[:-1]:
            entry = entry[name]
        entry[path[-1]] = value
        return tuple(returned)

    return change


def without(*path: str) -> Callable[[Returned], Any]:
    """An entry of the info less."""

    def change(returned: Returned) -> Any:
        entry = returned[-1]
        for name in path[:-1]:
            entry = entry[name]
        del entry[path[-1]]
        return tuple(returned)

    return change


def at(place: int, value: Any) -> Callable[[Returned], Any]:
    """Another value at this place of what a step returns; a reset is left alone."""

    def change(returned: Returned) -> Any:
        if len(returned) == 5:
            returned[place] = value
        return tuple(returned)

    return change


def raised(error: BaseException) -> Callable[[Returned], Any]:
    def change(returned: Returned) -> Any:
        raise error

    return change


GREY = np.zeros((8, 8), np.uint8)
RULES: dict[str, tuple[Callable[[Returned], Any], str]] = {
    "float pictures": (
        put("image", np.zeros((8, 8, 3), np.float32)),
        r"must be uint8 \(8, 8, 3\), found",
    ),
    "channels first": (put("image", np.zeros((3, 8, 8), np.uint8)), r"found uint8 \(3, 8, 8\)"),
    "grey pictures": (put("image", GREY), r"found uint8 \(8, 8\)"),
    "pictures with alpha": (put("image", np.zeros((8, 8, 4), np.uint8)), r"found uint8 \(8, 8, 4\)"),
    "larger pictures": (put("image", np.zeros((9, 8, 3), np.uint8)), r"found uint8 \(9, 8, 3\)"),
    "signed pictures": (put("image", np.zeros((8, 8, 3), np.int64)), "found int64"),
    "no picture": (put("image", None), "found object"),
    "ragged picture": (put("image", [[1], [1, 2]]), "image is no array"),
    "longer pose": (put("proprio", np.zeros(4)), r"proprio of shape \(4,\), but its space has \(3,\)"),
    "pose in a row": (put("proprio", np.zeros((1, 3))), r"proprio of shape \(1, 3\)"),
    "NaN in the pose": (put("proprio", np.array([0, np.nan, 0])), r"proprio\[1\] is nan"),
    "pose beyond float32": (put("proprio", np.array([0, 0, 1e300])), r"proprio\[2\] is 1e\+300"),
    "pose of texts": (put("proprio", np.array(["a", "b", "c"])), "must hold real numbers"),
    "pose of flags": (put("proprio", np.zeros(3, bool)), "must hold real numbers, found type bool"),
    "one observation more": (put("goal", np.zeros(2)), "it observes goal, image, proprio"),
    "an observation that is no dict": (lambda r: (np.zeros(3), *r[1:]), "it observes ndarray"),
    "no signals": (without("signals"), "its info lacks signals"),
    "no success": (without("success"), "its info lacks success"),
    "one signal less": (without("signals", "speed"), "signal_names lists place, speed"),
    "one signal more": (told("signals", "mass", value=1.0), "has mass, place, speed"),
    "signals in a list": (told("signals", value=[0.0, 0.0]), "has a list of 2"),
    "NaN in a signal": (
        told("signals", "place", value=float("nan")),
        "'place' must be a finite number",
    ),
    "text in a signal": (
        told("signals", "place", value="left"),
        "must be a finite number, not 'left'",
    ),
    "success that is no flag": (told("success", value=0.7), r"success is 0\.7"),
    "info that is no dict": (lambda r: (*r[:-1], None), "its info is NoneType"),
    "values too few": (lambda r: tuple(r[:-1]), "it returns [14] values, not [25]"),
    "values too many": (lambda r: (*r, {}), "it returns [36] values, not [25]"),
    "the observation alone": (lambda r: r[0], "it returns dict, not [25]"),
    "NaN as the reward": (at(1, float("nan")), "the reward must be a finite number, not nan"),
    "no reward": (at(1, None), "the reward must be a finite number, not None"),
    "rewards of parts": (at(1, np.zeros(2)), "the reward must be a finite number"),
    "terminated by a text": (at(2, "no"), "terminated must be true or false, not 'no'"),
    "truncated by nothing": (at(3, None), "truncated must be true or false, not None"),
    "an error": (
        raised(ValueError("too\nhot")),
        r"ValueError: too hot \(test_contract\.py, line \d+\)",
    ),
    "an error without text": (raised(KeyError()), r"raises KeyError \("),
    "the end of the program": (raised(SystemExit(3)), r"ends the program: sys\.exit\(3\)"),
}
MOMENTS = {"first reset": (1, 0), "first step": (1, 1), "later step": (1, 11), "later reset": (6, 0)}
"""Counts of resets and steps from which on a rule is broken."""
BROKEN = [
    pytest.param(*RULES[rule], MOMENTS[moment], id=f"{rule}, {moment}")
    for rule in RULES
    for moment in MOMENTS
]


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Counts from zero, and a scene that keeps its contract."""
    usual = Breaking.__dict__["change"]
    Breaking.counted[:] = [0, 0]
    yield
    Breaking.change, Breaking.moment = usual, (0, 0)


def test_the_scene_is_collected_and_evaluated_where_it_keeps_its_contract(tmp_path: Path) -> None:
    assert collect(SPEC, tmp_path / "data", workers=1).episode_count == 6
    assert len(evaluated()) == 6


def evaluated() -> list[Any]:
    """The episodes of an evaluation of a policy that goes right, checked as before every evaluation."""
    scene = SPEC.scene()
    check_scene(scene, ObservationShape((8, 8, 3), 3), 2, ("left",), {})
    environments = Environments(scene, 1)
    try:
        groups = [Group("left", (number,), (number,)) for number in range(6)]
        return [
            act_side_by_side(environments, group, lambda images, poses, noise: np.full((1, 2), 0.05), 0, 0)
            for group in groups
        ]
    finally:
        environments.close()


@pytest.mark.parametrize(("change", "said", "moment"), BROKEN)
def test_a_rule_that_is_broken_in_a_collection_is_one_line_and_what_is_written_opens(
    change: Any, said: str, moment: tuple[int, int], tmp_path: Path
) -> None:
    Breaking.change, Breaking.moment = staticmethod(change), moment  # type: ignore[assignment]
    with pytest.raises(CogError, match=said) as refused:
        collect(SPEC, tmp_path / "data", workers=1)
    assert ENV in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "data" / MANIFEST).exists()
    for shard in (tmp_path / "data").rglob("*.h5"):
        assert len(read_shard(shard)) == 2


@pytest.mark.parametrize(("change", "said", "moment"), BROKEN)
def test_a_rule_that_is_broken_in_an_evaluation_is_one_line(
    change: Any, said: str, moment: tuple[int, int]
) -> None:
    Breaking.change, Breaking.moment = staticmethod(change), moment  # type: ignore[assignment]
    with pytest.raises(CogError, match=said) as refused:
        evaluated()
    assert ENV in str(refused.value) and "\n" not in str(refused.value)


def test_a_scene_that_was_mended_continues_the_collection_that_it_had_ended(tmp_path: Path) -> None:
    Breaking.change, Breaking.moment = staticmethod(RULES["no signals"][0]), (6, 0)  # type: ignore[assignment]
    with pytest.raises(CogError, match="lacks signals"):
        collect(SPEC, tmp_path / "data", workers=1)
    assert len(list((tmp_path / "data").rglob("*.h5"))) == 1
    Breaking.moment = (sys.maxsize, 0)
    assert collect(SPEC, tmp_path / "data", workers=1).hash == collect(SPEC, tmp_path / "new", workers=1).hash


def test_memory_errors_and_ctrl_c_are_not_told_as_faults_of_the_scene() -> None:
    for error in (MemoryError(), KeyboardInterrupt()):
        Breaking.change = staticmethod(raised(error))  # type: ignore[assignment]
        with pytest.raises(type(error)):
            make_environment(SPEC.scene()).reset(seed=0)


# --- Frames of any kind -------------------------------------------------------------------------

CONTRACT = Contract({"image": (2, 2, 3), "proprio": (2,)}, ("place",))
DTYPES = st.one_of(
    arrays.integer_dtypes(),
    arrays.unsigned_integer_dtypes(),
    arrays.floating_dtypes(),
    arrays.boolean_dtypes(),
)


def any_array(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Arrays of any type, mostly of this shape."""
    others = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
    return arrays.arrays(DTYPES, st.one_of(st.just(shape), others))


@given(any_array((2, 2, 3)), any_array((2,)), any_array(()), st.sampled_from([True, np.False_, 0, 1.0]))
def test_a_frame_is_accepted_only_if_it_can_be_recorded_and_opened_as_it_was(
    image: np.ndarray, pose: np.ndarray, signal: np.ndarray, success: Any
) -> None:
    try:
        CONTRACT.check({"image": image, "proprio": pose}, {"signals": {"place": signal}, "success": success})
    except CogError:
        with np.errstate(over="ignore", invalid="ignore"):
            fits = (
                (image.dtype == np.uint8 and image.shape == (2, 2, 3))
                and (pose.dtype.kind in "iuf" and pose.shape == (2,))
                and bool(np.isfinite(pose.astype(np.float32)).all())
                and (signal.size == 1 and bool(np.isfinite(signal.astype(np.float32)).all()))
            )
        assert not fits
        return
    episode = Episode(
        actions=np.zeros((1, 2), np.float32),
        signals={"place": np.full(2, signal.item(), np.float32)},
        images=np.stack([image, image]),
        proprio=np.stack([pose, pose]),
    )
    data = encode_shard([episode], "", 0, Path("a shard"))
    (read,) = decode_shard(data, Path("a shard"))
    np.testing.assert_array_equal(read.images, episode.images)
    np.testing.assert_array_equal(read.proprio, np.stack([pose, pose]).astype(np.float32))


@given(st.one_of(st.booleans(), st.integers(), st.floats(), st.text(), st.none(), st.complex_numbers()))
def test_numbers_and_flags_are_what_they_say(value: Any) -> None:
    real = isinstance(value, int | float) and abs(value) <= float(np.finfo(np.float32).max)
    assert number(value) == (float(value) if real else None)
    assert flag(value) == (bool(value) if real and value in (0, 1) else None)


def test_a_dataset_that_is_finished_opens(tmp_path: Path) -> None:
    collect(SPEC, tmp_path / "data", workers=1)
    assert open_dataset(tmp_path / "data").step_count == 24
