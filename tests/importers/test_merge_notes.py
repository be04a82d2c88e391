"""A merge says where its sources name other cameras, pose parts, action names or rates, and only there."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cog.datasets.action_scale import ActionScale
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.robot_interface import RobotInterface
from cog.datasets.writer import DatasetWriter
from cog.errors import CogError

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
INTERFACES = st.builds(
    RobotInterface,
    cameras=st.sampled_from([(), ("front",), ("wrist",)]),
    pose=st.sampled_from([None, (("arm", 1), ("gripper", 1)), (("gripper", 1), ("arm", 1))]),
    action_names=st.sampled_from([(), ("x", "y"), ("y", "x")]),
    rate=st.sampled_from([None, 10.0, 20.0]),
)
WIDE = ActionScale((-3.0,) * 2, (3.0,) * 2)
WORDS = {"cameras": "cameras", "pose": "pose", "action_names": "names of actions", "rate": "rates"}


def session(folder, *, interface=None, scale=None, image=True, width=2):
    """A dataset of one episode under a view that rewards a step."""
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    seen = {"images": frames, "proprio": np.ones((3, 2))} if image else {"state": np.ones((3, 2))}
    with DatasetWriter(folder, interface=interface, action_scale=scale, image_size=None) as writer:
        writer.add_episode(np.zeros((2, width)), **seen, rewards=[0.0, 1.0])
    relabel(folder, "recorded", "r")
    return str(folder)


@settings(max_examples=20, deadline=None)
@given(one=INTERFACES, other=INTERFACES)
def test_a_note_for_each_fact_that_both_name_and_name_differently(one, other):
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as name:
        root = Path(name)
        sources = [session(root / "a", interface=one)], [session(root / "b", interface=other)]
        remarks = write_merge(root / "m.json", *sources).remarks()
    for field, words in WORDS.items():
        first, second = getattr(one, field), getattr(other, field)
        differ = first not in (None, ()) and second not in (None, ()) and first != second
        assert any(f"different {words}" in remark for remark in remarks) == differ, field


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({}, {"image": False}, "images of 8x8x3 and poses of 2 numbers, the second states of 2 numbers"),
        ({}, {"width": 3}, "actions of 2 components, the second actions of 3 components"),
        (
            {"scale": ActionScale((-3.0,) * 2, (3.0,) * 2)},
            {},
            r"from \(-3, -3\) to \(3, 3\).*taken as they are",
        ),
    ],
)
def test_what_cannot_be_merged_is_told_with_what_each_holds(one, other, said, tmp_path):
    sources = [session(tmp_path / "a", **one)], [session(tmp_path / "b", **other)]
    with pytest.raises(CogError, match=said):
        write_merge(tmp_path / "m.json", *sources)


def test_a_merge_without_its_data_says_how_it_finds_them(tmp_path):
    source = session(tmp_path / "a")
    write_merge(tmp_path / "m.json", [source])
    (tmp_path / "far").mkdir()
    (tmp_path / "m.json").rename(tmp_path / "far/m.json")
    with pytest.raises(
        CogError, match=r"far/a; a merge finds its data by paths .* Move the merge or the data"
    ):
        open_merge(tmp_path / "far/m.json")
