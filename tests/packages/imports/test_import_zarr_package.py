"""Replay buffers that the real Zarr writes come in equal to the bit, from folders and zip files."""

import shutil

import numpy as np
import pytest

from cog import cli
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify

zarr = pytest.importorskip("zarr")
OLD = zarr.__version__.startswith("2.")
LENGTHS = (7, 1, 12)


def columns():
    rng, rows = np.random.default_rng(0), sum(LENGTHS)
    return {
        "action": rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "img": rng.integers(0, 256, (rows, 12, 12, 3)).astype(np.float32),
        "state": rng.normal(size=(rows, 5)).astype(np.float32),
    }


def write(path, form, packed="default"):
    """A replay buffer, by the calls of Diffusion Policy where the package still has them."""
    store = zarr.storage.ZipStore(str(path), mode="w") if path.suffix == ".zip" else str(path)
    root = zarr.open_group(store=store, mode="w", **({} if OLD else {"zarr_format": form}))
    data, meta = root.create_group("data"), root.create_group("meta")
    key = "compressor" if OLD else "compressors"
    more = {} if packed == "default" else {key: packed}
    arrays = [(data, name, values) for name, values in columns().items()]
    for group, name, values in [*arrays, (meta, "episode_ends", np.cumsum(LENGTHS))]:
        make = group.array if OLD else group.create_array
        make(name, data=values, chunks=(4, *values.shape[1:]), **more)
    if path.suffix == ".zip":
        store.close()
    return path


def check(path, out):
    options = ["--image", "img", "--proprio", "state", "--image-size", "0", "--last-frame", "repeat"]
    assert cli.run(["import", "diffusion_policy", str(path), "--out", str(out), *options]) == 0
    assert verify(out) == []
    found, begin = list(open_dataset(out).episodes()), 0
    assert [len(one) for one in found] == list(LENGTHS)
    for mine, steps in zip(found, LENGTHS, strict=True):
        part = slice(begin, begin + steps)
        np.testing.assert_array_equal(mine.images[:-1], columns()["img"][part].astype(np.uint8))
        np.testing.assert_array_equal(mine.images[-1], mine.images[-2])
        np.testing.assert_array_equal(mine.proprio[:-1], columns()["state"][part])
        np.testing.assert_array_equal(mine.actions, columns()["action"][part])
        begin += steps


@pytest.mark.parametrize("ending", ["zarr", "zarr.zip"])
@pytest.mark.parametrize("form", [2] if OLD else [2, 3])
def test_a_buffer_comes_in_from_a_folder_and_a_zip_file(tmp_path, form, ending):
    check(write(tmp_path / f"a.{ending}", form), tmp_path / "data")


def test_the_compressions_of_diffusion_policy_are_read(tmp_path):
    import numcodecs

    fast = numcodecs.Blosc(cname="lz4", clevel=5, shuffle=numcodecs.Blosc.NOSHUFFLE)
    small = numcodecs.Blosc(cname="zstd", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)
    for number, packed in enumerate((fast, small, None)):
        check(write(tmp_path / f"{number}.zarr", 2, packed), tmp_path / f"data{number}")


def test_a_chunk_that_is_gone_is_said_where_the_package_reads_zeros(tmp_path, capsys):
    path = write(tmp_path / "a.zarr", 2)
    (path / "data/action/1.0").unlink()
    theirs = zarr.open_group(store=str(path), mode="r")["data/action"][4:8]
    assert not theirs.any(), "the package reads a lost chunk as zeros"
    options = ["--image", "none", "--proprio", "state", "--last-frame", "repeat"]
    assert cli.run(["import", "diffusion_policy", str(path), "--out", str(tmp_path / "data"), *options]) == 0
    assert "1 chunks of data/action are not stored" in " ".join(capsys.readouterr().out.split())


@pytest.mark.skipif(not OLD, reason="newer packages read both forms")
def test_the_older_package_says_that_it_cannot_read_the_newer_form(tmp_path, capsys):
    path = write(tmp_path / "a.zarr", 2)
    shutil.rmtree(path / "meta")
    (path / "meta/episode_ends").mkdir(parents=True)
    (path / "meta/episode_ends/zarr.json").write_text('{"node_type": "array"}')
    (path / ".zgroup").unlink()
    (path / "zarr.json").write_text("{}")
    arguments = ["import", "diffusion_policy", str(path), "--out", str(tmp_path / "data")]
    assert cli.run(arguments) == 1
    assert "Install zarr 3 to read Zarr format 3" in " ".join(capsys.readouterr().err.split())
