"""A LeRobot folder of format v3 comes in frame by frame, from tables and from videos."""

import io
import json

import cv2
import numpy as np
import pytest

from cog import cli
from cog.core.files import hash_file
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify
from tests.helpers.lerobot import CAMERA, SIZE, encode, episodes, table, write_lerobot

pyarrow = pytest.importorskip("pyarrow")
av = pytest.importorskip("av")
parquet = pytest.importorskip("pyarrow.parquet")

KEYS = ["--proprio", "observation.state", "--image-size", "0"]


def run(*arguments):
    return cli.run(["import", "lerobot", *map(str, arguments)])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "data"


@pytest.mark.parametrize("video", [False, True])
def test_every_array_comes_in_but_for_actions_that_nothing_follows(video, tmp_path, out, frozen, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=video)
    before = frozen(source)
    arguments = [*KEYS, "--success", "next.success"]
    assert run(source, "--out", out, *arguments) == 2 and not out.exists()
    assert "3 episodes would lose the only one" in " ".join(capsys.readouterr().err.split())
    assert run(source, "--out", out, *arguments, "--last-frame", "drop") == 0
    assert frozen(source) == before and verify(out) == []
    dataset, given = open_dataset(out), [episodes()[0], episodes()[2]]
    assert dataset.episode_count == 2 and dataset.environment["id"] == "so100"
    for episode, wanted in zip(dataset.episodes(), given, strict=True):
        np.testing.assert_array_equal(episode.images, wanted[CAMERA])
        np.testing.assert_array_equal(episode.proprio, wanted["observation.state"])
        np.testing.assert_array_equal(episode.actions, wanted["action"][:-1])
        np.testing.assert_array_equal(episode.signals["reward"], [0, *wanted["next.reward"][:-1]])
        assert not episode.success and episode.truncated and episode.options["tasks"] == ["pick"]
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "3 last actions were dropped" in said and "and 3 successes (--last-frame repeat keeps them)" in said
    )
    read = ["meta/info.json", "meta/episodes/chunk-000/file-000.parquet"]
    read += [f"data/chunk-000/file-00{n}.parquet" for n in (0, 1)]
    read += [f"videos/{CAMERA}/chunk-000/file-00{n}.mp4" for n in (0, 1)] if video else []
    assert {entry.hash for entry in dataset.inputs} == {hash_file(source / name) for name in read}


@pytest.mark.parametrize("video", [False, True])
def test_the_last_frame_may_be_repeated_to_keep_the_successes(video, tmp_path, out):
    source = write_lerobot(tmp_path / "source", episodes(), video=video)
    arguments = ["--success", "next.success", "--last-frame", "repeat"]
    assert run(source, "--out", out, *KEYS, *arguments) == 0
    dataset = open_dataset(out)
    assert (dataset.episode_count, dataset.step_count, dataset.success_count) == (3, 11, 3)
    for episode, wanted in zip(dataset.episodes(), episodes(), strict=True):
        np.testing.assert_array_equal(episode.images, [*wanted[CAMERA], wanted[CAMERA][-1]])
        np.testing.assert_array_equal(episode.actions, wanted["action"])


def test_a_video_is_read_backwards_too_where_episodes_lie_so(tmp_path, out):
    given = episodes((3, 4, 5))
    source = write_lerobot(tmp_path / "source", given, video=True, files=((2, 0, 1),))
    assert run(source, "--out", out, *KEYS) == 0
    for episode, wanted in zip(open_dataset(out).episodes(), given, strict=True):
        np.testing.assert_array_equal(episode.images, wanted[CAMERA])


def test_states_come_in_without_images(tmp_path, out):
    source = write_lerobot(tmp_path / "source", episodes(), video=True)
    assert run(source, "--out", out, "--image", "none") == 0
    assert open_dataset(out).environment["observations"] == {"state": [3]}


def change_info(source, **values):
    path = source / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"codebase_version": "v1.6"}, "field 'codebase_version': must be v2.x or v3.x, found v1.6"),
        ({"data_path": "../../{chunk_index}"}, "field 'data_path': must be data/chunk-"),
        ({"video_path": "/etc/{video_key}"}, "field 'video_path': must be videos/"),
        ({"fps": 0}, "field 'fps': must be positive"),
        (
            {"features": {"x": {"dtype": "float32"}}},
            "field 'features': must describe every feature, 'action'",
        ),
        ({"features": {CAMERA: 1, "action": 2}}, "field 'features': must describe every feature"),
    ],
)
def test_a_description_that_is_not_of_v3_is_refused_by_field(values, said, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=True)
    change_info(source, **values)
    assert run(source, "--out", out, *KEYS) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    path.write_bytes(data)


def shorten(path):
    frames = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    encode(path, frames)


def playlist(path):
    path.write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")


DATA, VIDEO = "data/chunk-000/file-001.parquet", f"videos/{CAMERA}/chunk-000/file-001.mp4"
ENTRIES = "meta/episodes/chunk-000/file-000.parquet"


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("meta/info.json", lambda path: path.unlink(), "meta/info.json"),
        (ENTRIES, lambda path: path.unlink(), "must number the episodes"),
        (ENTRIES, damage, "cannot be read"),
        (DATA, lambda path: path.unlink(), f"field '{DATA}': is missing"),
        (DATA, damage, "cannot be read"),
        (DATA, lambda path: table({"action": [[0.0]]}, path), "cannot be read"),
        (VIDEO, lambda path: path.unlink(), f"field '{VIDEO}': is missing"),
        (VIDEO, lambda path: path.write_bytes(b"no video"), "field 'video': cannot be decoded"),
        (VIDEO, shorten, "field 'video': has no picture at 0.200 s, frame 2"),
        (VIDEO, playlist, "field 'video': cannot be decoded"),
    ],
)
def test_a_broken_folder_is_refused_by_file(name, spoil, said, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=True)
    spoil(source / name)
    assert run(source, "--out", out, *KEYS) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert said in message and str(source) in message, message
    assert not out.exists()


def test_frames_that_are_missing_from_a_table_are_noticed(tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=False)
    whole = parquet.read_table(source / DATA)
    parquet.write_table(whole.slice(0, 5), source / DATA)
    assert run(source, "--out", out, *KEYS) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "episode 2, field 'frame_index': must number the 6 frames" in said


def test_pictures_in_a_table_that_are_neither_png_nor_jpeg_are_refused(tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=False)
    rows = parquet.read_table(source / DATA).to_pydict()
    tiff = cv2.imencode(".tiff", np.zeros((SIZE, SIZE, 3), np.uint8))[1].tobytes()
    for cell in ({"bytes": tiff, "path": None}, {"bytes": None, "path": "/etc/hostname"}):
        rows[CAMERA] = [cell] * 6
        parquet.write_table(pyarrow.table(rows), source / DATA)
        assert run(source, "--out", out, *KEYS) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert f"episode 2, field '{CAMERA}': must contain every picture as PNG or JPEG" in said


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--mask", "x"], "--mask"),
        (["--image", "x"], f"there are no images 'x'; it has images {CAMERA}"),
        (["--success", "won"], "there is no feature 'won' that marks success"),
    ],
)
def test_options_without_meaning_are_refused(option, said, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=False)
    assert run(source, "--out", out, *KEYS, *option) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_without_the_extra_its_name_is_given(tmp_path, out, capsys, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "av" else found(name))
    assert run(tmp_path, "--out", out) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "'av' (of the extra 'lerobot'). Install it with: pip install av" in said


def test_the_encoding_used_here_gives_back_every_bit(tmp_path):
    frames = episodes((5,))[0][CAMERA]
    encode(tmp_path / "a.mp4", frames)
    with av.open(io.BytesIO((tmp_path / "a.mp4").read_bytes())) as container:
        back = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal(back, frames)
