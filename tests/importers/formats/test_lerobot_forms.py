"""What LeRobot folders hold beside colour cameras and long vectors: taken exactly, or left out by name."""

import json
from fractions import Fraction

import cv2
import numpy as np
import pytest

from cog import cli
from cog.datasets.importers import lerobot
from cog.datasets.storage.dataset import open_dataset
from tests.helpers.lerobot import (
    CAMERA,
    RATE,
    SIZE,
    as_version_2,
    av,
    episodes,
    parquet,
    png,
    pyarrow,
    write_lerobot,
)

REPEAT = ["--image-size", "0", "--last-frame", "repeat"]
KEYS = ["--proprio", "observation.state", *REPEAT]
SINGLE = ((0,), (1,), (2,))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "data"


def run(*arguments):
    return cli.run(["import", "lerobot", *map(str, arguments)])


def said(capsys):
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def imported(out):
    return list(open_dataset(out).episodes())


def with_last(values):
    return np.concatenate([values, values[-1:]])


@pytest.mark.parametrize("video", [False, True])
def test_version_2_holds_the_same_episodes_in_other_places(video, tmp_path, out):
    source = write_lerobot(tmp_path / "source", episodes(), video=video, files=SINGLE)
    assert run(as_version_2(source, 3), "--out", out, *KEYS, "--success", "next.success") == 0
    for episode, wanted in zip(imported(out), episodes(), strict=True):
        np.testing.assert_array_equal(episode.images, with_last(wanted[CAMERA]))
        np.testing.assert_array_equal(episode.proprio, with_last(wanted["observation.state"]))
        np.testing.assert_array_equal(episode.actions, wanted["action"])
        assert episode.success and episode.options["tasks"] == ["pick"]


@pytest.mark.parametrize("spoil", ["", "[]\n", "{\n", '{"episode_index": 0}\n'])
def test_a_broken_list_of_episodes_of_version_2_is_refused_by_file(spoil, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=False, files=SINGLE)
    (as_version_2(source, 3) / "meta/episodes.jsonl").write_text(spoil)
    assert run(source, "--out", out, *KEYS) == 1
    assert "meta/episodes.jsonl" in said(capsys) and not out.exists()


@pytest.mark.parametrize("measured", [False, True])
def test_features_of_one_number_are_vectors_of_one(measured, tmp_path, out):
    given = [
        {**one, "action": one["action"][:, 0], "observation.state": one["observation.state"][:, 0]}
        for one in episodes()
    ]
    source = write_lerobot(tmp_path / "source", given, video=False)
    options = ["--action-bounds", "measured"] if measured else []
    assert run(source, "--out", out, *KEYS, *options) == 0
    every = np.concatenate([one["action"] for one in given]).astype(np.float64)
    for episode, wanted in zip(imported(out), given, strict=True):
        actions = wanted["action"].astype(np.float64)
        if measured:
            actions = 2 * (actions - every.min()) / (every.max() - every.min()) - 1
        np.testing.assert_allclose(episode.actions, actions[:, None], atol=1e-6)
        np.testing.assert_array_equal(episode.proprio[:-1], wanted["observation.state"][:, None])


FLAGS = [
    {"info": {"is_depth_map": True}},
    {"info": {"video.is_depth_map": True}},
    {"video_info": {"video.is_depth_map": True}},
]


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("video", [False, True])
def test_a_flagged_depth_camera_is_left_out_and_refused_by_name(video, flag, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=video, **flag)
    assert run(source, "--out", tmp_path / "states", *REPEAT) == 0
    text = said(capsys)
    assert f"{CAMERA} is no colour picture but depth" in text and "decoded" not in text
    assert open_dataset(tmp_path / "states").environment["observations"] == {"state": [3]}
    assert run(source, "--out", out, *KEYS, "--image", CAMERA) == 2
    text = said(capsys)
    assert f"'{CAMERA}' must be colour pictures (H, W, 3), found depth" in text and not out.exists()


def grey(bits):
    return lambda picture: cv2.imencode(".png", picture[:, :, 0].astype(f"uint{bits}"))[1].tobytes()


def wide(picture):
    return cv2.imencode(".png", picture.astype(np.uint16) * 257)[1].tobytes()


def layered(alpha):
    def coded(picture):
        plane = np.full((SIZE, SIZE, 1), alpha, np.uint8)
        return cv2.imencode(".png", np.concatenate([picture[:, :, ::-1], plane], axis=2))[1].tobytes()

    return coded


@pytest.mark.parametrize(
    ("coded", "words"),
    [
        (grey(16), "found a depth map, a mask or a matrix (1 channel of uint16"),
        (wide, "found 3 channels of uint16"),
        (layered(254), "must be opaque"),
        (lambda picture: cv2.imencode(".tiff", picture[:, :, 0].astype(np.float32))[1].tobytes(), "as PNG"),
    ],
)
def test_pictures_that_are_found_to_be_none_are_refused_with_what_they_are(
    coded, words, tmp_path, out, capsys
):
    source = write_lerobot(tmp_path / "source", episodes(), video=False, coded=coded)
    assert run(source, "--out", out, *KEYS) == 1
    text = said(capsys)
    assert f"episode 0, field '{CAMERA}': must" in text and words in text and not out.exists()


def test_an_opaque_fourth_channel_is_left_out_and_said(tmp_path, out, capsys):
    source = write_lerobot(
        tmp_path / "source", episodes(), video=False, coded=layered(255), shape=[SIZE, SIZE, 4]
    )
    assert run(source, "--out", out, *KEYS) == 0
    assert f"{CAMERA}: a fourth channel, 255 everywhere, was left out" in said(capsys)
    for episode, wanted in zip(imported(out), episodes(), strict=True):
        np.testing.assert_array_equal(episode.images, with_last(wanted[CAMERA]))


def test_a_grey_camera_is_taken_where_it_is_named(tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=False, coded=grey(8), shape=[1, SIZE, SIZE])
    assert run(source, "--out", tmp_path / "states", *REPEAT) == 0
    assert "name it with --image if it is a grey picture" in said(capsys)
    assert run(source, "--out", out, *KEYS, "--image", CAMERA) == 0
    assert f"{CAMERA}: one grey channel was repeated three times" in said(capsys)
    for episode, wanted in zip(imported(out), episodes(), strict=True):
        plane = with_last(wanted[CAMERA])[..., :1]
        np.testing.assert_array_equal(episode.images, np.repeat(plane, 3, axis=3))


def test_a_depth_map_that_is_declared_as_bytes_is_told_by_its_first_picture(tmp_path, out, capsys):
    source = write_lerobot(
        tmp_path / "source", episodes(), video=False, coded=grey(16), shape=[1, SIZE, SIZE]
    )
    assert run(source, "--out", tmp_path / "states", *REPEAT) == 0
    text = said(capsys)
    assert "1 channel of uint16" in text and "name it with --image" not in text
    assert run(source, "--out", out, *KEYS, "--image", CAMERA) == 2
    assert "uint16" in said(capsys) and not out.exists()


def test_a_jpeg_is_taken_and_called_lossy(tmp_path, out, capsys):
    def coded(picture):
        return cv2.imencode(".jpg", picture[:, :, ::-1])[1].tobytes()

    source = write_lerobot(tmp_path / "source", episodes(), video=False, coded=coded)
    assert run(source, "--out", out, *KEYS) == 0
    assert "decoded from JPEG, which keeps the recorded pictures approximately" in said(capsys)
    wanted = cv2.imdecode(np.frombuffer(coded(episodes()[0][CAMERA][0]), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(imported(out)[0].images[0], wanted[:, :, ::-1])


def depth_film(path, frames):
    """A video of depth, as LeRobot codes it: grey of 12 bits in HEVC."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx265", rate=RATE)
        stream.width = stream.height = 4 * SIZE
        stream.pix_fmt, stream.options = "gray12le", {"x265-params": "log-level=none"}
        stream.time_base = Fraction(1, RATE)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray16le")))
        container.mux(stream.encode())


def test_a_video_of_more_than_8_bits_of_grey_is_refused_even_without_a_flag(tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=True)
    for file, count in enumerate((5, 6)):
        frames = [np.full((4 * SIZE, 4 * SIZE), 1000 * k, np.uint16) for k in range(count)]
        depth_film(source / f"videos/{CAMERA}/chunk-000/file-{file:03d}.mp4", frames)
    assert run(source, "--out", out, *KEYS) == 1
    text = said(capsys)
    assert "found a depth map, a mask or a matrix (1 channel of uint16" in text and not out.exists()


def test_a_video_is_called_lossy_with_its_coding(tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=True)
    assert run(source, "--out", out, *KEYS) == 0
    assert f"{CAMERA}: decoded from video (h264), which keeps the recorded pictures appr" in said(capsys)


def test_language_and_other_features_are_left_out_by_name(tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=True)
    path = source / "meta/info.json"
    info = json.loads(path.read_text())
    for key in ("language_persistent", "language_events"):
        info["features"][key] = {"dtype": "language", "shape": [1], "names": None}
    info["features"]["note"] = {"dtype": "string", "shape": [1]}
    path.write_text(json.dumps(info))
    assert run(source, "--out", out, "--image", "none", *REPEAT) == 0
    text = said(capsys)
    assert "observations not taken: language_events, language_persistent, next.success, note" in text
    assert open_dataset(out).environment["observations"] == {"state": [3]}


@pytest.mark.parametrize("video", [False, True])
def test_episodes_without_a_step_are_left_out_and_counted(video, tmp_path, out, capsys):
    given = episodes((4, 0, 6))
    source = write_lerobot(tmp_path / "source", given, video=video, files=((0, 1, 2),))
    assert run(source, "--out", out, *KEYS, "--action-bounds", "measured") == 0
    assert "1 episodes without a step were left out" in said(capsys)
    for episode, wanted in zip(imported(out), (given[0], given[2]), strict=True):
        np.testing.assert_array_equal(episode.images, with_last(wanted[CAMERA]))


@pytest.mark.parametrize("per_group", [1, 4, 100])
@pytest.mark.parametrize("at_once", [1, 3, 32])
def test_a_table_is_read_in_one_pass(at_once, per_group, tmp_path, out, monkeypatch):
    source = write_lerobot(tmp_path / "source", episodes(), video=False, files=((0, 1, 2),))
    path = source / "data/chunk-000/file-000.parquet"
    parquet.write_table(parquet.read_table(path), path, row_group_size=per_group)
    passes = []
    usual = parquet.ParquetFile.iter_batches

    def counted(self, *arguments, columns, **options):
        passes.extend(columns)
        return usual(self, *arguments, columns=columns, **options)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", counted)
    monkeypatch.setattr(lerobot, "ROWS_OF_PICTURES", at_once)
    assert run(source, "--out", out, *KEYS) == 0
    assert [passes.count(key) for key in (CAMERA, "observation.state", "next.reward")] == [1, 1, 1]
    for episode, wanted in zip(imported(out), episodes(), strict=True):
        np.testing.assert_array_equal(episode.images, with_last(wanted[CAMERA]))


def test_the_ends_that_an_export_wrote_are_read_again(tmp_path, out):
    given = episodes((3, 2))
    for episode, done in zip(given, (True, False), strict=True):
        last = np.arange(len(episode["action"])) == len(episode["action"]) - 1
        episode |= {"next.done": last & done, "next.truncated": last & (not done)}
    source = write_lerobot(tmp_path / "source", given, video=False, files=((0, 1),))
    assert run(source, "--out", out, *KEYS) == 0
    assert [(one.terminated, one.truncated) for one in imported(out)] == [(True, False), (False, True)]


def test_rows_of_an_episode_may_lie_apart(tmp_path, out):
    given = episodes((4, 3, 5))
    source = write_lerobot(tmp_path / "source", given, video=False, files=((0, 1, 2),))
    path = source / "data/chunk-000/file-000.parquet"
    whole = parquet.read_table(path)
    order = np.argsort(whole.column("frame_index").to_numpy(), kind="stable")  # all first frames come first
    parquet.write_table(whole.take(pyarrow.array(order)), path, row_group_size=2)
    assert run(source, "--out", out, *KEYS) == 0
    for episode, wanted in zip(imported(out), given, strict=True):
        np.testing.assert_array_equal(episode.images, with_last(wanted[CAMERA]))
        np.testing.assert_array_equal(episode.actions, wanted["action"])
    assert png(given[0][CAMERA][0]).startswith(b"\x89PNG")


@pytest.mark.parametrize("key", ["action", "observation.state"])
def test_data_of_another_width_than_declared_are_refused_by_feature(key, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=False)
    info = json.loads((source / "meta/info.json").read_text())
    info["features"][key]["shape"] = [5]
    (source / "meta/info.json").write_text(json.dumps(info))
    assert run(source, "--out", out, *KEYS) == 1
    told = said(capsys)
    assert f"'{key}'" in told and "that meta/info.json declares, [5]" in told


@pytest.mark.parametrize(("factor", "told"), [(1.0, False), (1.05, False), (3.0, True), (0.5, True)])
def test_timestamps_at_another_rate_than_declared_are_said(factor, told, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes((4, 3)), video=False, files=((0, 1),))
    path = source / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(path)
    times = pyarrow.array(table.column("timestamp").to_numpy() * factor, pyarrow.float32())
    column = table.column_names.index("timestamp")
    parquet.write_table(table.set_column(column, "timestamp", times), path)
    assert run(source, "--out", out, *KEYS) == 0
    assert (f"but meta/info.json says {RATE} frames a second" in said(capsys)) == told


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        ([0, 1, 2, 3, 4, 5], None),
        ([0, 1.2, 1.9, 3, 4.1, 5], None),
        ([0, 1, 3, 4, 5, 6], "1 steps in 1 episodes are not as long"),
        ([0, 1, 3, 4, 6, 7], "2 steps in 1 episodes are not as long"),
        ([0, 1, 1, 2, 3, 4], "1 steps in 1 episodes are not as long"),
    ],
)
def test_frames_dropped_within_an_episode_are_said_with_their_number(frames, told, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes((4, 6)), video=False, files=((0, 1),))
    path = source / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(path)
    times = np.concatenate([np.arange(4), frames]) / RATE
    column = table.column_names.index("timestamp")
    parquet.write_table(table.set_column(column, "timestamp", pyarrow.array(times, pyarrow.float32())), path)
    assert run(source, "--out", out, *KEYS) == 0
    text = said(capsys)
    assert ("not as long" in text) == (told is not None)
    if told:
        gap = int(np.argmax(np.abs(np.diff(frames) - 1)))
        assert told in text and f"after frame {gap} of episode 1" in text


@pytest.mark.parametrize("times", [[0, 0, 0, 0], [0, 0.1, 0.1, 0.3], [0, 0.2, 0.1, 0.3]])
def test_timestamps_that_do_not_rise_choose_no_pictures_of_a_video(times, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes((4,)), video=True, files=((0,),))
    path = source / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(path)
    column = table.column_names.index("timestamp")
    parquet.write_table(table.set_column(column, "timestamp", pyarrow.array(times, pyarrow.float32())), path)
    assert run(source, "--out", out, *KEYS) == 1
    assert "must rise from frame to frame" in said(capsys) and not out.exists()


@pytest.mark.parametrize("told", [None, 3, 7])
def test_another_number_of_episodes_than_the_folder_lists_is_said(told, tmp_path, out, capsys):
    source = write_lerobot(tmp_path / "source", episodes(), video=False)
    info = json.loads((source / "meta/info.json").read_text())
    (source / "meta/info.json").write_text(
        json.dumps(info | ({} if told is None else {"total_episodes": told}))
    )
    assert run(source, "--out", out, *KEYS) == 0
    assert ("tells of 7 episodes, but the folder lists 3" in said(capsys)) == (told == 7)
