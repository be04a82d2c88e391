"""A key that some episodes lack is refused by name if it would be taken, and else noted with a count."""

import json
import re
import shlex
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cog.datasets.importers.dreamer import DreamerOptions
from cog.datasets.importers.folders.minari import ArrowStorage
from cog.datasets.importers.maniskill import ManiSkillOptions
from cog.datasets.importers.minari import MinariOptions
from cog.datasets.importers.reference import ReferenceOptions
from cog.datasets.importers.robomimic import RobomimicOptions
from cog.datasets.storage.problem import DataError
from cog.errors import UsageError
from tests.helpers.foreign import minari_arrays, robomimic_arrays, write_minari, write_robomimic
from tests.importers.conftest import read_all

MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
STEPS = 2
LAST = np.arange(STEPS) == STEPS - 1


def observed(keys, number):
    """What episode `number` observed before, between and after its actions, by key."""
    rng = np.random.default_rng(number)
    every = {
        "image": rng.integers(0, 256, (STEPS + 1, 6, 6, 3), dtype=np.uint8),
        "joint": rng.normal(size=(STEPS + 1, 2)),
        "pose": rng.normal(size=(STEPS + 1, 3)),
    }
    return {key: every[key] for key in keys}


def actions(rows=STEPS):
    return np.full((rows, 2), 0.5, np.float32)


def robomimic(folder, episodes):
    with h5py.File(folder / "a.hdf5", "w") as file:
        for number, one in enumerate(episodes):
            file[f"data/demo_{number}/actions"] = actions()
            for key, values in one.items():
                file[f"data/demo_{number}/obs/{key}"] = values
    return folder / "a.hdf5"


def maniskill(folder, episodes):
    with h5py.File(folder / "a.h5", "w") as file:
        for number, one in enumerate(episodes):
            file[f"traj_{number}/actions"] = actions()
            for key, values in one.items():
                file[f"traj_{number}/obs/{key}"] = values
    return folder / "a.h5"


def minari(folder, episodes):
    told = {"data_format": "hdf5", "total_episodes": len(episodes)}
    (folder / "metadata.json").write_text(json.dumps(told))
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        for number, one in enumerate(episodes):
            file[f"episode_{number}/actions"] = actions()
            for name in ("rewards", "terminations", "truncations"):
                file[f"episode_{number}/{name}"] = LAST
            for key, values in one.items():
                file[f"episode_{number}/observations/{key}"] = values
    return folder


def dreamer(folder, episodes):
    for number, one in enumerate(episodes):
        np.savez(folder / f"{number}.npz", action=actions(STEPS + 1), **one)
    return folder


def reference(folder, episodes):
    made = []
    for one in episodes:
        rows = [{key: values[row] for key, values in one.items()} for row in range(STEPS + 1)]
        made.append({"observations": rows[:-1], "next_observations": rows[1:], "actions": list(actions())})
    np.save(folder / "a.npy", np.array(made, object), allow_pickle=True)
    return folder / "a.npy"


FORMATS = {
    "robomimic": (robomimic, RobomimicOptions, "data/demo_{}", "obs/", "episodes"),
    "maniskill": (maniskill, ManiSkillOptions, "traj_{}", "obs/", "trajectories"),
    "minari": (minari, MinariOptions, "episode_{}", "observations/", "episodes"),
    "dreamer": (dreamer, DreamerOptions, "{}.npz", "", "files"),
    "reference": (reference, ReferenceOptions, "trajectory {}", "observations/", "episodes"),
}
HELD = [("joint",), ("joint", "pose"), ("image", "joint"), ("image", "joint", "pose")]
PROPRIO = st.sampled_from([(), ("none",), ("joint",), ("joint", "pose"), ("pose",)])


def chosen(keys, image, proprio):
    """The image and the vectors to take of episodes that hold these keys; None if the choice is invalid."""
    every = set().union(*keys)
    picture = {"none": None, "image": "image", None: "image" if "image" in every else None}[image]
    vectors = [key for key in ("joint", "pose") if key in every]
    if proprio == () and picture:
        return None
    taken = {(): vectors, ("none",): []}.get(proprio, list(proprio))
    wanted = [*([picture] if picture else []), *taken]
    return (picture, taken) if wanted and set(wanted) <= every else None


@pytest.mark.parametrize("kind", FORMATS)
@MANY
@given(
    keys=st.lists(st.sampled_from(HELD), min_size=2, max_size=4),
    image=st.sampled_from([None, "none", "image"]),
    proprio=PROPRIO,
)
def test_keys_are_those_of_all_episodes_together_in_any_order(tmp_path_factory, kind, keys, image, proprio):
    write, options, name, prefix, unit = FORMATS[kind]
    episodes = [observed(held, number) for number, held in enumerate(keys)]
    source, choice = write(tmp_path_factory.mktemp("made"), episodes), options(image=image, proprio=proprio)
    wanted = chosen(keys, image, proprio)
    if wanted is None:
        with pytest.raises(UsageError):
            read_all(choice, source)
        return
    picture, vectors = wanted
    taken = [*([picture] if picture else []), *vectors]
    lacking = {key: [k for k, held in enumerate(keys) if key not in held] for key in taken}
    absent = next((key for key in taken if lacking[key]), None)
    if absent is not None:
        with pytest.raises(DataError) as raised:
            read_all(choice, source)
        problem, others = raised.value.problem, len(keys) - len(lacking[absent])
        assert problem.field == name.format(lacking[absent][0])
        held = "1 other holds" if others == 1 else f"{others} others hold"
        assert problem.rule == f"has no '{prefix}{absent}', which {held}"
        assert ("--mask" in problem.remedy) == (kind == "robomimic")
        given_way = re.search("import with (.*?), or ", problem.remedy)
        words = shlex.split(given_way[1])  # what it says can be done, since all hold 'joint'
        flags = [place for place, word in enumerate(words) if word.startswith("--")]
        for begin, end in zip(flags, [*flags[1:], len(words)], strict=True):
            option, values = words[begin].removeprefix("--"), words[begin + 1 : end]
            choice = replace(choice, **{option: values[0] if option == "image" else tuple(values)})
        assert len(read_all(choice, source)[0]) == len(keys)
        return
    found, notes = read_all(choice, source)
    for one, arrays in zip(found, episodes, strict=True):
        rows = STEPS + 1 if one.closed else STEPS
        assert (one.images is None) == (picture is None)
        if picture:
            np.testing.assert_array_equal(one.images, arrays["image"][:rows])
        if vectors:
            joined = np.concatenate([arrays[key] for key in vectors], axis=1)
            np.testing.assert_array_equal(one.vectors, joined[:rows])
    left = []
    for key in sorted(set().union(*keys) - set(taken)):
        count = sum(key in held for held in keys)
        left.append(key if count == len(keys) else f"{key} (in {count} of {len(keys)} {unit})")
    assert (f"observations not taken: {', '.join(left)}" in notes) if left else ("not taken" not in notes)


def test_episodes_that_share_no_key_get_no_advice_on_keys(tmp_path):
    source = dreamer(tmp_path, [observed(("image",), 0), observed(("pose",), 1)])
    with pytest.raises(DataError) as raised:
        read_all(DreamerOptions(proprio=("none",)), source)
    assert raised.value.problem.remedy == "record it in all of them, or leave out the episodes that lack it"


def test_what_minaris_description_alone_names_is_said(tmp_path):
    source = write_minari(tmp_path / "a", minari_arrays())
    with h5py.File(source / "data/main_data.hdf5", "a") as file:
        for number in range(2):
            del file[f"episode_{number}/observations/arm/force"]
    _, notes = read_all(MinariOptions(proprio=("arm/joints",)), source)
    assert "observations not taken: arm/force (in 0 of 2 episodes)" in notes


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_listing_the_arrays_of_a_table_reads_none_of_its_data(tmp_path, form, monkeypatch):
    given = minari_arrays()
    source = write_minari(tmp_path / "a", given, data_format=form)
    read = []
    whole = ArrowStorage._read
    monkeypatch.setattr(ArrowStorage, "_read", lambda self, k: read.append(k) or whole(self, k))
    opened = MinariOptions(proprio=("arm/joints",)).open(source)
    assert read == []
    np.testing.assert_array_equal(opened.read(1).vectors, given[1]["arm/joints"])
    assert read == [1]
    opened.close()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_success_that_some_trajectories_lack_is_refused_by_name(bring, tmp_path, first, named):
    source = maniskill(tmp_path, [observed(("joint",), number) for number in range(3)])
    with h5py.File(source, "a") as file:
        for number in range(3):
            if number != (0 if first else 2):
                file[f"traj_{number}/success"] = LAST
    found = bring("maniskill", source, *(["--success", "success"] if named else []))
    assert found.code == 1 and not found.out.exists()
    lacks, has = ("traj_0", "traj_1") if first else ("traj_2", "traj_0")
    assert f"field '{lacks}': has no 'success' that marks success, {has} has" in found.said
    assert "defines no success" not in found.said
    assert bring("maniskill", source, "--success", "None").dataset.success_count == 0  # as it says


def test_success_that_no_trajectory_has_is_refused_only_if_it_is_asked_for(bring, tmp_path):
    source = maniskill(tmp_path, [observed(("joint",), number) for number in range(2)])
    found = bring("maniskill", source)
    assert found.code == 0 and "no trajectory has an array of success" in found.said
    found = bring("maniskill", source, "--success", "success")
    assert found.code == 2 and "traj_0 has no array 'success' that marks success" in found.said


def test_trajectories_that_the_description_does_not_list_are_counted(tmp_path):
    source = maniskill(tmp_path, [observed(("joint",), number) for number in range(3)])
    source.with_suffix(".json").write_text(json.dumps({"episodes": [{"episode_id": 0}, {"episode_id": 2}]}))
    _, notes = read_all(ManiSkillOptions(), source)
    assert "1 trajectories are not in a.json (traj_1)" in notes


@pytest.mark.parametrize("lacks", [0, 1, 2])
@pytest.mark.parametrize("rule", [(), ("--success", "reward>0")])
def test_rewards_that_some_episodes_lack_are_refused_by_name(bring, tmp_path, lacks, rule):
    source = write_robomimic(tmp_path / "a.hdf5", robomimic_arrays((3, 2, 4)))
    with h5py.File(source, "a") as file:
        del file[f"data/demo_{lacks}/rewards"]
    found = bring("robomimic", source, "--image", "none", *rule)
    assert found.code in (1, 2) and f"demo_{lacks}" in found.said and "has no rewards" in found.said
    assert not found.out.exists()
    if not rule:
        has = "demo_1" if lacks == 0 else "demo_0"
        assert f"episode {lacks}, field 'demo_{lacks}': has no rewards, {has} has" in found.said
        assert "--mask" in found.said and "signal_names" not in found.said
    if lacks == 1:
        assert bring("robomimic", source, "--image", "none", "--mask", "train", *rule).code == 0  # as it says


def test_arrays_that_only_later_episodes_hold_are_noted_with_a_count(tmp_path):
    source = write_robomimic(tmp_path / "a.hdf5", robomimic_arrays((3, 2, 4)))
    with h5py.File(source, "a") as file:
        del file["data/demo_0/states"]
    _, notes = read_all(RobomimicOptions(image="none"), source)
    assert "arrays not taken: dones, states (in 2 of 3 episodes)" in notes
