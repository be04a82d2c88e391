"""Small LeRobot folders of format v2.1 and v3 as LeRobot writes them, and the arrays that went in."""

import json
import shutil
from fractions import Fraction

import cv2
import numpy as np
import pytest

pyarrow = pytest.importorskip("pyarrow")
av = pytest.importorskip("av")
parquet = pytest.importorskip("pyarrow.parquet")

RATE, SIZE = 10, 16
CAMERA = "observation.images.top"


def episodes(lengths=(4, 1, 6), seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            CAMERA: rng.integers(0, 256, (steps, SIZE, SIZE, 3), dtype=np.uint8),
            "observation.state": rng.normal(size=(steps, 3)).astype(np.float32),
            "action": rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
            "next.reward": rng.normal(size=steps).astype(np.float32),
            "next.success": np.arange(steps) == steps - 1,
        }
        for steps in lengths
    ]


def table(columns, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), file)


def png(picture):
    return cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()


def encode(file, frames):
    """A video whose pictures come back to the bit."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264rgb", rate=RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "rgb24", {"crf": "0", "g": "2"}
        stream.time_base = Fraction(1, RATE)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_lerobot(folder, given, *, video, files=((0, 1), (2,)), coded=png, **camera):
    """The episodes in format v3; `files` tells which of them share a table and a video.

    `coded` makes the bytes of a picture in a table; `camera` holds further facts about the cameras' features.
    `video` says whether cameras are stored as videos, or of which keys.
    """
    cameras = [key for key in given[0] if key.startswith("observation.images.")]
    videos = [key for key in cameras if video is True or (video and key in video)]
    shapes = {key: list(values.shape[1:]) or [1] for key, values in given[0].items() if key not in cameras}
    features = {key: {"dtype": str(given[0][key].dtype), "shape": shape} for key, shape in shapes.items()}
    for key in cameras:
        kind, shape = "video" if key in videos else "image", list(given[0][key].shape[1:])
        features[key] = {"dtype": kind, "shape": shape, **camera}
    for key in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        features[key] = {"dtype": "float32" if key == "timestamp" else "int64", "shape": [1]}
    pattern = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    info = {
        "codebase_version": "v3.0",
        "robot_type": "so100",
        "fps": RATE,
        "features": features,
        "data_path": f"data/{pattern}.parquet",
        "video_path": f"videos/{{video_key}}/{pattern}.mp4" if videos else None,
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info))
    entries, index = [], 0
    for file, members in enumerate(files):
        rows = {key: [] for key in features if key not in videos}
        shown = 0
        for number in members:
            episode, steps = given[number], len(given[number]["action"])
            entry = {"episode_index": number, "length": steps, "tasks": ["pick"]}
            entry |= {"data/chunk_index": 0, "data/file_index": file}
            entry |= {"dataset_from_index": index, "dataset_to_index": index + steps}
            for key in cameras:
                if key not in videos:
                    rows[key] += [{"bytes": coded(frame), "path": None} for frame in episode[key]]
                    continue
                place = f"videos/{key}"
                entry |= {f"{place}/chunk_index": 0, f"{place}/file_index": file}
                entry |= {f"{place}/from_timestamp": shown / RATE}
                entry |= {f"{place}/to_timestamp": (shown + steps) / RATE}
            for key in shapes:
                rows[key] += episode[key].tolist()
            rows["timestamp"] += (np.arange(steps) / RATE).astype(np.float32).tolist()
            rows["frame_index"] += list(range(steps))
            rows["episode_index"] += [number] * steps
            rows["index"] += list(range(index, index + steps))
            rows["task_index"] += [0] * steps
            entries.append(entry)
            index, shown = index + steps, shown + steps
        table(rows, folder / f"data/chunk-000/file-{file:03d}.parquet")
        for key in videos:
            pictures = np.concatenate([given[number][key] for number in members])
            encode(folder / f"videos/{key}/chunk-000/file-{file:03d}.mp4", pictures)
    columns = {key: [entry[key] for entry in entries] for key in entries[0]}
    table(columns, folder / "meta/episodes/chunk-000/file-000.parquet")
    return folder


def as_version_2(folder, count):
    """A folder of version 3 with a file for each of `count` episodes, laid out as version 2.1."""
    entries = parquet.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    lines = [{key: entry[key] for key in ("episode_index", "tasks", "length")} for entry in entries]
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "pick"}) + "\n")
    shutil.rmtree(folder / "meta/episodes")
    films = [place / "chunk-000" for place in sorted(folder.glob("videos/*"))]
    for number in range(count):
        name = f"episode_{number:06d}"
        table_file = folder / f"data/chunk-000/file-{number:03d}.parquet"
        table_file.rename(table_file.with_name(f"{name}.parquet"))
        for film in films:
            target = folder / "videos/chunk-000" / film.parent.name / f"{name}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            (film / f"file-{number:03d}.mp4").rename(target)
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    data = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    film = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    info |= {"codebase_version": "v2.1", "chunks_size": 1000, "data_path": data}
    info |= {"video_path": film if info["video_path"] else None}
    path.write_text(json.dumps(info))
    return folder
