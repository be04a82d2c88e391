"""Exports hold every camera under its name, and come back by an import, every array equal."""

import json
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from cog.datasets.episode import Episode
from cog.datasets.exporters import FORMATS
from cog.datasets.exporters.run import Exported, export
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import labelled, relabel
from cog.datasets.writer import DatasetWriter
from cog.errors import UsageError
from tests.importers.conftest import Import
from tests.importers.conftest import bring as bring  # a fixture

SHAPES = {"image": (8, 8, 3), "grey": (4, 4, 1), "wrist": (6, 10, 3)}
LENGTHS = (4, 1, 6)
NAMES = {"robomimic": "a.hdf5", "minari": "a-v0", "d3rlpy": "a.h5", "lerobot": "a"}
NEEDED: dict[str, dict[str, Any]] = {"lerobot": {"fps": 20}}
KEEP = ("--image-size", "0")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A dataset of three cameras, under a view that keeps its rewards."""
    rng = np.random.default_rng(0)

    def shown(name: str, steps: int) -> np.ndarray:
        return rng.integers(0, 256, (steps + 1, *SHAPES[name]), dtype=np.uint8)

    with DatasetWriter(tmp_path / "data", image_size=None, episodes_per_shard=2) as writer:
        for steps in LENGTHS:
            writer.add_episode(
                rng.uniform(-1, 1, (steps, 2)),
                images=shown("image", steps),
                cameras={name: shown(name, steps) for name in ("wrist", "grey")},
                proprio=rng.normal(size=(steps + 1, 3)),
                rewards=rng.normal(size=steps),
            )
    relabel(tmp_path / "data", "recorded", "view", terminate=False)
    return tmp_path / "data"


def exported(kind: str, source: Path, out: Path, **given: Any) -> Exported:
    options = FORMATS[kind].load()(**NEEDED.get(kind, {}) | given)
    return export(options, open_merge(source), out)


def episodes(source: Path) -> list[Episode]:
    return [one for part in open_merge(source).sources for one in labelled(part.dataset, part.view)]


def decoded(cells: list[dict[str, bytes]]) -> np.ndarray:
    """Pictures of a column, RGB."""
    files = (np.frombuffer(cell["bytes"], np.uint8) for cell in cells)
    return np.stack([cv2.imdecode(file, cv2.IMREAD_UNCHANGED)[:, :, ::-1] for file in files])


def found_in(kind: str, path: Path, number: int, name: str) -> np.ndarray:
    """The frames (T, H, W, C) of a camera before each step, read without cog."""
    if kind == "lerobot":
        from pyarrow import parquet

        table = parquet.read_table(path / "data/chunk-000/file-000.parquet")
        rows = np.asarray(table["episode_index"]) == number
        cells = table[f"observation.images.{name}"].to_pylist()
        return decoded([cell for cell, own in zip(cells, rows, strict=True) if own])
    file = path / "data/main_data.hdf5" if kind == "minari" else path
    with h5py.File(file) as opened:
        if kind == "robomimic":
            return np.asarray(opened[f"data/demo_{number}/obs/{name}"])
        if kind == "minari":
            return np.asarray(opened[f"episode_{number}/observations/{name}"])[:-1]
        place = ["image", "grey", "wrist"].index(name)
        return np.moveaxis(np.asarray(opened[f"observations_{number}_{place}"]), 1, 3)


@pytest.mark.parametrize("kind", ["robomimic", "minari", "d3rlpy", "lerobot"])
def test_every_camera_is_in_the_file_under_its_name(kind: str, source: Path, tmp_path: Path) -> None:
    result = exported(kind, source, tmp_path / NAMES[kind])
    for number, episode in enumerate(episodes(source)):
        for name, shown in episode.pictures().items():
            wanted = np.repeat(shown, 3, 3) if (kind, name) == ("lerobot", "grey") else shown
            np.testing.assert_array_equal(found_in(kind, result.path, number, name), wanted[:-1], strict=True)
    assert any("grey" in note for note in result.notes) == (kind in ("robomimic", "lerobot", "d3rlpy"))


def test_the_descriptions_of_folders_say_each_camera_s_size(source: Path, tmp_path: Path) -> None:
    exported("minari", source, tmp_path / "a-v0")
    told = json.loads((tmp_path / "a-v0/data/metadata.json").read_text())["observation_space"]
    spaces = json.loads(told)["subspaces"]
    assert {name: tuple(spaces[name]["shape"]) for name in SHAPES} == SHAPES
    assert all(spaces[name]["dtype"] == "uint8" for name in SHAPES)
    exported("lerobot", source, tmp_path / "a")
    features = json.loads((tmp_path / "a/meta/info.json").read_text())["features"]
    wrist = features["observation.images.wrist"]
    assert (wrist["dtype"], wrist["shape"]) == ("image", [6, 10, 3])
    assert features["observation.images.grey"]["shape"] == [4, 4, 3]


IMPORTS = {
    "robomimic": ("image", "wrist", "grey", "--proprio", "proprio"),
    "minari": ("image", "wrist", "grey", "--proprio", "proprio"),
    "lerobot": (
        *(f"observation.images.{name}" for name in ("image", "wrist", "grey")),
        *("--proprio", "observation.state", "--last-frame", "repeat"),
    ),
}


@pytest.mark.parametrize("kind", ["robomimic", "minari", "lerobot"])
def test_an_export_comes_back_by_an_import_and_goes_out_again(
    kind: str, source: Path, tmp_path: Path, bring: Import
) -> None:
    out = exported(kind, source, tmp_path / NAMES[kind]).path
    result = bring(kind, out, "--image", *IMPORTS[kind], *KEEP)
    last = -1 if kind == "lerobot" else None  # which stores no frame after the last action
    for back, episode in zip(result.episodes, episodes(source), strict=True):
        assert list(back.pictures()) == list(episode.pictures())
        for name, shown in episode.pictures().items():
            wanted = np.repeat(shown, 3, 3) if (kind, name) == ("lerobot", "grey") else shown
            np.testing.assert_array_equal(back.pictures()[name][:last], wanted[:last], strict=True)
        np.testing.assert_array_equal(back.proprio[:last], episode.proprio[:last])
        np.testing.assert_array_equal(back.actions, episode.actions)
        np.testing.assert_array_equal(back.signals["reward"][1:], episode.rewards)
    relabel(result.out, "recorded", "view", terminate=False)
    again = exported(kind, result.out, tmp_path / "again" / NAMES[kind]).path
    for number, episode in enumerate(episodes(source)):
        for name in episode.pictures():
            first = found_in(kind, out, number, name)
            np.testing.assert_array_equal(found_in(kind, again, number, name), first, strict=True)


@pytest.mark.parametrize("kind", ["robomimic", "minari", "d3rlpy", "lerobot"])
def test_chosen_cameras_alone_are_written(kind: str, source: Path, tmp_path: Path) -> None:
    result = exported(kind, source, tmp_path / NAMES[kind], cameras=("image",))
    if kind == "lerobot":
        features = json.loads((result.path / "meta/info.json").read_text())["features"]
        assert [name for name in features if "images" in name] == ["observation.images.image"]
        return
    file = result.path / "data/main_data.hdf5" if kind == "minari" else result.path
    held: list[str] = []
    with h5py.File(file) as opened:
        opened.visit(held.append)
    assert not [name for name in held if "wrist" in name or "grey" in name]
    assert ("observations_0_2" in held) is False and ("observations_0_1" in held) == (kind == "d3rlpy")


def test_an_export_without_the_first_camera_is_written_too(source: Path, tmp_path: Path) -> None:
    exported("robomimic", source, tmp_path / "a.hdf5", cameras=("wrist",))
    with h5py.File(tmp_path / "a.hdf5") as opened:
        assert sorted(opened["data/demo_0/obs"]) == ["proprio", "wrist"]
        assert json.loads(opened["cog"][()])["cameras"] == ["wrist"]


def test_a_camera_that_the_data_lack_is_refused_with_those_that_they_have(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        UsageError, match=r"camera 'hand' is not in the data\. Choose from: image, grey, wrist"
    ):
        exported("robomimic", source, tmp_path / "a.hdf5", cameras=("image", "hand"))
    assert not (tmp_path / "a.hdf5").exists()
    with DatasetWriter(tmp_path / "states") as writer:
        writer.add_episode(np.zeros((2, 2)), state=np.zeros((3, 2)), rewards=np.zeros(2))
    relabel(tmp_path / "states", "recorded", "view", terminate=False)
    with pytest.raises(UsageError, match="Leave out --cameras: there are no images"):
        exported("minari", tmp_path / "states", tmp_path / "a-v0", cameras=("image",))


def test_d3rlpy_s_tuple_names_every_part_and_one_may_be_chosen(source: Path, tmp_path: Path) -> None:
    result = exported("d3rlpy", source, tmp_path / "a.h5")
    assert any("the tuple (image, grey, wrist, proprio)" in note for note in result.notes)
    exported("d3rlpy", source, tmp_path / "b.h5", observation="wrist")
    with h5py.File(tmp_path / "b.h5") as opened:
        wanted = np.moveaxis(episodes(source)[0].cameras["wrist"][:-1], 3, 1)
        np.testing.assert_array_equal(opened["observations_0"], wanted)
