"""What the real Minari writes comes in with every array."""

import numpy as np
import pytest

from cog import cli
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify

pytest.importorskip("minari")
LENGTHS = (6, 1, 9)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Record episodes with Minari, and the buffers that went in."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    import gymnasium
    import minari
    from minari.data_collector import EpisodeBuffer

    def make(name, mask=False, **options):
        rng = np.random.default_rng(0)
        plane = rng.integers(0, 9, (40, 40), dtype=np.uint8)
        space = gymnasium.spaces.Dict(
            camera=gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8),
            arm=gymnasium.spaces.Dict(joints=gymnasium.spaces.Box(-9, 9, (4,), np.float64)),
            **({"mask": gymnasium.spaces.Box(0, 255, (40, 40), np.uint8)} if mask else {}),
        )
        buffers = []
        for number, steps in enumerate(LENGTHS):
            last = np.arange(steps) == steps - 1
            buffers.append(
                EpisodeBuffer(
                    id=None,
                    seed=7 + number,
                    options=None,
                    observations={
                        "camera": list(rng.integers(0, 256, (steps + 1, 32, 32, 3), dtype=np.uint8)),
                        "arm": {"joints": list(rng.normal(size=(steps + 1, 4)))},
                        **({"mask": [plane] * (steps + 1)} if mask else {}),
                    },
                    actions=list(rng.uniform(-2, 2, (steps, 3)).astype(np.float32)),
                    rewards=rng.normal(size=steps).tolist(),
                    terminations=(last & (number == 0)).tolist(),
                    truncations=(last & (number > 0)).tolist(),
                    infos={"success": [False] * steps + [number == 2]},
                )
            )
        minari.create_dataset_from_buffers(
            dataset_id=name,
            buffer=buffers,
            observation_space=space,
            action_space=gymnasium.spaces.Box(-2, 2, (3,), np.float32),
            **options,
        )
        return tmp_path / "minari" / name, minari.load_dataset(name)

    return make


def run(source, out, *arguments):
    options = ["--proprio", "arm/joints", "--image-size", "0", "--success", "infos/success"]
    options += ["--action-low", "-2", "--action-high", "2", *arguments]
    return cli.run(["import", "minari", str(source), "--out", str(out), *options])


@pytest.mark.parametrize("jpeg", [False, True])
@pytest.mark.parametrize("form", ["hdf5", "arrow", "parquet"])
def test_every_array_that_minari_reads_is_in_the_import(form, jpeg, write, tmp_path, capsys):
    if form != "hdf5":
        pytest.importorskip("pyarrow")
    source, theirs = write("lab/raw-v0", jpeg_encoding=jpeg, data_format=form)
    assert run(source, tmp_path / "data") == 0
    assert ("camera: decoded from JPEG" in capsys.readouterr().out) == jpeg
    dataset = open_dataset(tmp_path / "data")
    assert verify(dataset.path) == [] and dataset.environment["id"] == "lab/raw-v0"
    assert dataset.episode_count == theirs.total_episodes == len(LENGTHS)
    for number, (mine, their) in enumerate(zip(dataset.episodes(), theirs.iterate_episodes(), strict=True)):
        np.testing.assert_array_equal(mine.images, their.observations["camera"])
        np.testing.assert_array_equal(mine.proprio, their.observations["arm"]["joints"].astype(np.float32))
        np.testing.assert_array_equal(mine.actions, (their.actions.astype(np.float64) / 2).astype(np.float32))
        np.testing.assert_array_equal(mine.signals["reward"], np.float32([0, *their.rewards]))
        np.testing.assert_array_equal(mine.signals["success"], their.infos["success"])
        assert (mine.terminated, mine.truncated) == (their.terminations[-1], their.truncations[-1])
        assert (mine.seed, mine.success, len(mine)) == (7 + number, number == 2, LENGTHS[number])


@pytest.mark.parametrize("form", ["hdf5", "arrow", "parquet"])
def test_a_still_mask_is_neither_a_state_nor_a_picture(form, write, tmp_path, capsys):
    if form != "hdf5":
        pytest.importorskip("pyarrow")
    source, _ = write("lab/mask-v0", mask=True, data_format=form)
    assert run(source, tmp_path / "data", "--image", "none") == 0
    assert open_dataset(tmp_path / "data").environment["observations"] == {"state": [4]}
    assert "mask is no colour picture but a plane without colour, coded as JPEG" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["hdf5", "arrow", "parquet"])
def test_the_parts_of_a_tuple_are_taken_by_the_names_that_minari_gives_them(form, tmp_path, monkeypatch):
    if form != "hdf5":
        pytest.importorskip("pyarrow")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    import gymnasium
    import minari
    from minari.data_collector import EpisodeBuffer

    rng, steps = np.random.default_rng(0), 4
    box = gymnasium.spaces.Box
    pictures = rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8)
    joints = rng.normal(size=(steps + 1, 2))
    minari.create_dataset_from_buffers(
        dataset_id="lab/pair-v0",
        buffer=[
            EpisodeBuffer(
                id=None,
                observations=(list(pictures), list(joints)),
                actions=list(rng.uniform(-1, 1, (steps, 3)).astype(np.float32)),
                rewards=[0.0] * steps,
                terminations=[False] * steps,
                truncations=[False] * (steps - 1) + [True],
            )
        ],
        observation_space=gymnasium.spaces.Tuple(
            (box(0, 255, (8, 8, 3), np.uint8), box(-9, 9, (2,), np.float64))
        ),
        action_space=box(-1, 1, (3,), np.float32),
        data_format=form,
        jpeg_encoding=False,
    )
    image, pose = ("_index_0", "_index_1") if form == "hdf5" else ("0", "1")
    options = ["--image", image, "--proprio", pose, "--image-size", "0"]
    source = tmp_path / "minari/lab/pair-v0"
    assert cli.run(["import", "minari", str(source), "--out", str(tmp_path / "data"), *options]) == 0
    [mine] = open_dataset(tmp_path / "data").episodes()
    np.testing.assert_array_equal(mine.images, pictures)
    np.testing.assert_array_equal(mine.proprio, joints.astype(np.float32))
