"""Small files as other packages write them, made without these packages, and the arrays that went in."""

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

Arrays = dict[str, Any]


def robomimic_arrays(lengths: tuple[int, ...] = (4, 1, 6), seed: int = 0, size: int = 8) -> list[Arrays]:
    """Episodes with T + 1 observations each; the last step of every second one is rewarded."""
    rng = np.random.default_rng(seed)
    episodes = []
    for number, steps in enumerate(lengths):
        rewards = np.zeros(steps)
        rewards[-1] = number % 2 == 0
        episodes.append(
            {
                "actions": rng.uniform(-1, 1, (steps, 7)),
                "rewards": rewards,
                "agentview_image": rng.integers(0, 256, (steps + 1, size, size, 3), dtype=np.uint8),
                "robot0_eye_in_hand_image": rng.integers(0, 256, (steps + 1, 4, 4, 3), dtype=np.uint8),
                "robot0_eef_pos": rng.normal(size=(steps + 1, 3)),
                "robot0_gripper_qpos": rng.normal(size=(steps + 1, 2)),
                "object": rng.normal(size=(steps + 1, 10)),
            }
        )
    return episodes


def write_robomimic(path: Path, episodes: list[Arrays], *, following: bool = True) -> Path:
    """The episodes as robomimic's collection scripts store them."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})
        data.attrs["total"] = sum(len(episode["actions"]) for episode in episodes)
        for number, episode in enumerate(episodes):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = len(episode["actions"])
            for name, values in episode.items():
                if name in ("actions", "rewards"):
                    demo[name] = values
                    continue
                demo[f"obs/{name}"] = values[:-1]
                if following:
                    demo[f"next_obs/{name}"] = values[1:]
            demo["dones"] = (np.arange(len(episode["actions"])) == len(episode["actions"]) - 1).astype(
                np.int64
            )
            demo["states"] = np.zeros((len(episode["actions"]), 32))
        file["mask/train"] = np.array([f"demo_{n}" for n in range(len(episodes)) if n != 1], dtype="S8")
        file["mask/valid"] = np.array(["demo_1"], dtype="S8")
    return path


def flat_arrays(lengths: tuple[int, ...] = (5, 1, 3, 4), seed: int = 0) -> list[Arrays]:
    """Episodes of T + 1 states; every second one ends by itself, the others by the time limit."""
    rng = np.random.default_rng(seed)
    return [
        {
            "observations": rng.normal(size=(steps + 1, 4)).astype(np.float32),
            "actions": rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
            "rewards": rng.normal(size=steps).astype(np.float32),
            "terminal": number % 2 == 0,
        }
        for number, steps in enumerate(lengths)
    ]


def write_flat(
    path: Path, episodes: list[Arrays], *, timeouts: bool = True, following: bool = True, cut: bool = False
) -> Path:
    """The episodes as a D4RL file; `cut` leaves the end of the last one unmarked."""
    ends = [np.arange(len(episode["actions"])) == len(episode["actions"]) - 1 for episode in episodes]
    terminals = [end & episode["terminal"] for end, episode in zip(ends, episodes, strict=True)]
    limits = [end & ~np.bool_(episode["terminal"]) for end, episode in zip(ends, episodes, strict=True)]
    if cut:
        terminals[-1][-1] = limits[-1][-1] = False
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([episode["observations"][:-1] for episode in episodes])
        file["actions"] = np.concatenate([episode["actions"] for episode in episodes])
        file["rewards"] = np.concatenate([episode["rewards"] for episode in episodes])
        file["terminals"] = np.concatenate(terminals)
        if timeouts:
            file["timeouts"] = np.concatenate(limits)
        if following:
            file["next_observations"] = np.concatenate([episode["observations"][1:] for episode in episodes])
        file["infos/qpos"] = np.zeros((len(file["actions"]), 3))
        file["infos/goal"] = np.concatenate(ends)
        file["metadata/algorithm"] = np.bytes_("SAC")
    return path


def minari_arrays(lengths: tuple[int, ...] = (3, 5), seed: int = 0, size: int = 6) -> list[Arrays]:
    """Episodes with a dictionary of observations."""
    rng = np.random.default_rng(seed)
    return [
        {
            "camera": rng.integers(0, 256, (steps + 1, size, size, 3), dtype=np.uint8),
            "arm/joints": rng.normal(size=(steps + 1, 4)),
            "arm/force": rng.normal(size=(steps + 1, 2)),
            "actions": rng.uniform(-1, 1, (steps, 3)).astype(np.float32),
            "rewards": rng.normal(size=steps),
            "terminated": number % 2 == 0,
            "success": np.arange(steps + 1) == steps,
        }
        for number, steps in enumerate(lengths)
    ]


def write_minari(folder: Path, episodes: list[Arrays], **metadata: Any) -> Path:
    """The episodes as a Minari dataset, of format hdf5 without JPEG unless `metadata` say otherwise.

    With `jpeg_encoding` the camera's arrays are lists of files, or arrays of them if all have one length.
    """
    (folder / "data").mkdir(parents=True)
    size = list(episodes[0]["camera"].shape[1:])
    box = {"type": "Box", "dtype": "float64", "low": [-9.0] * 4, "high": [9.0] * 4}
    bounds = {"low": np.zeros(size).tolist(), "high": np.full(size, 255).tolist()}
    spaces: dict[str, Any] = {"camera": {"type": "Box", "dtype": "uint8", "shape": size, **bounds}}
    arm = {key: {**box, "shape": [episodes[0][f"arm/{key}"].shape[1]]} for key in ("joints", "force")}
    spaces["arm"] = {"type": "Dict", "subspaces": arm}
    values = {
        "dataset_id": "lab/arm-v0",
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "total_episodes": len(episodes),
        "observation_space": json.dumps({"type": "Dict", "subspaces": spaces}),
    } | metadata
    (folder / "data/metadata.json").write_text(json.dumps(values))
    if values["data_format"] == "hdf5":
        _minari_hdf5(folder / "data/main_data.hdf5", episodes, bool(values["jpeg_encoding"]))
    else:
        _minari_arrow(folder / "data", episodes, values["data_format"], bool(values["jpeg_encoding"]))
    return folder


def jpegs(pictures: np.ndarray) -> list[bytes]:
    """Pictures (T, H, W, 3) or (T, H, W) as the files that Minari makes of them."""
    found = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="JPEG")
        found.append(buffer.getvalue())
    return found


def _ends(episode: Arrays) -> dict[str, np.ndarray]:
    steps = len(episode["actions"])
    last = np.arange(steps) == steps - 1
    return {"terminations": last & episode["terminated"], "truncations": last & (not episode["terminated"])}


def _minari_hdf5(path: Path, episodes: list[Arrays], jpeg: bool) -> None:
    with h5py.File(path, "w", track_order=True) as file:
        for number, episode in enumerate(episodes):
            group, steps = file.create_group(f"episode_{number}"), len(episode["actions"])
            group.attrs["id"], group.attrs["total_steps"], group.attrs["seed"] = number, steps, 40 + number
            for key in ("camera", "arm/joints", "arm/force"):
                if key == "camera" and jpeg:
                    coded = [np.frombuffer(data, np.uint8) for data in jpegs(episode[key])]
                    kind = h5py.vlen_dtype(np.uint8) if len({len(data) for data in coded}) > 1 else np.uint8
                    group.create_dataset(f"observations/{key}", data=coded, dtype=kind)
                else:
                    group[f"observations/{key}"] = episode[key]
            group["actions"], group["rewards"] = episode["actions"], episode["rewards"]
            for key, values in _ends(episode).items():
                group[key] = values
            group["infos/success"] = episode["success"]


def _minari_arrow(folder: Path, episodes: list[Arrays], form: str, jpeg: bool) -> None:
    """A folder for each episode, with a row of padding wherever there is no step."""
    import pyarrow
    from pyarrow import parquet

    def flat(values: np.ndarray, pad: int = 0) -> Any:
        rows = np.pad(values.reshape(len(values), int(np.prod(values.shape[1:]))), ((0, pad), (0, 0)))
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.reshape(-1)), rows.shape[1])

    def struct(**parts: Any) -> Any:
        return pyarrow.StructArray.from_arrays(list(parts.values()), names=list(parts))

    for number, episode in enumerate(episodes):
        camera = episode["camera"]
        shown = pyarrow.array(jpegs(camera), pyarrow.binary()) if jpeg else flat(camera)
        arm = struct(joints=flat(episode["arm/joints"]), force=flat(episode["arm/force"]))
        table = pyarrow.table(
            {
                "observations": struct(camera=shown, arm=arm),
                "actions": flat(episode["actions"], pad=1),
                "rewards": np.append(episode["rewards"], 0.0),
                **{key: np.append(values, False) for key, values in _ends(episode).items()},
                "infos": struct(success=pyarrow.array(episode["success"])),
            }
        )
        place = folder / str(number)
        place.mkdir()
        facts = {"id": number, "total_steps": len(episode["actions"]), "seed": 40 + number}
        (place / "metadata.json").write_text(json.dumps(facts))
        if form == "parquet":
            parquet.write_table(table, place / "part-0.parquet")
            continue
        with pyarrow.ipc.new_file(str(place / "part-0.arrow"), table.schema) as writer:
            writer.write_table(table)
