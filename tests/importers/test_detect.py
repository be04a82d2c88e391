"""An import without a format says which one a path looks like, and a wrong one names the right one."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from cog import cli
from cog.datasets.importers import FORMATS
from cog.datasets.importers.detect import detect
from tests.helpers.foreign import (
    flat_arrays,
    minari_arrays,
    robomimic_arrays,
    write_flat,
    write_minari,
    write_robomimic,
)
from tests.importers.formats import test_dreamer, test_maniskill, test_ogbench, test_reference
from tests.importers.stores import buffer, write_folder, write_zip


def lerobot(path, version):
    (path / "meta").mkdir(parents=True)
    (path / "meta/info.json").write_text(json.dumps({"codebase_version": version}))
    return path


def store(write, path):
    columns = {"action": np.zeros((4, 2)), "state": np.zeros((4, 3))}
    return write(path, buffer(columns, np.array([4]), 4))


MADE = {
    "robomimic": [lambda d: write_robomimic(d / "demo.hdf5", robomimic_arrays((2,)))],
    "d4rl": [lambda d: write_flat(d / "flat.hdf5", flat_arrays())],
    "minari": [
        lambda d: write_minari(d / "arm-v0", minari_arrays()),
        lambda d: write_minari(d / "arm-v0", minari_arrays()) / "data",
        lambda d: write_minari(d / "arm-v0", minari_arrays(), data_format="arrow"),
    ],
    "lerobot": [lambda d: lerobot(d / "lab", "v3.0"), lambda d: lerobot(d / "lab", "v2.1")],
    "maniskill": [lambda d: test_maniskill.save(d / "a.h5", list(test_maniskill.trajectories([2])))],
    "ogbench": [
        lambda d: test_ogbench.write(d / "a.npz", test_ogbench.states([2, 3])),
        lambda d: test_ogbench.write(d / "a.npz", test_ogbench.states([2, 3]), "compact", True),
        lambda d: test_ogbench.write(d / "a.npz", test_ogbench.states([2, 3]), "regular", True),
    ],
    "diffusion_policy": [
        lambda d: store(write_folder, d / "a.zarr"),
        lambda d: store(write_zip, d / "a.zarr.zip"),
        lambda d: store(lambda path, files: write_zip(path, files, "b/"), d / "b.zip"),
    ],
    "dreamer": [
        lambda d: test_dreamer.save(d / "made", [test_dreamer.episode(3)]),
        lambda d: next(test_dreamer.save(d / "made", [test_dreamer.episode(3)]).iterdir()),
        lambda d: test_dreamer.flat(d / "data.hdf5", [test_dreamer.episode(3)]),
    ],
    "reference": [lambda d: test_reference.save(d / "prior.npy", test_reference.trajectories([2]))],
}
CASES = [(name, number) for name, makers in MADE.items() for number in range(len(makers))]


def run(capsys, *arguments):
    code = cli.run(["import", *map(str, arguments)])
    seen = capsys.readouterr()
    return code, " ".join((seen.out + seen.err).split())


def test_every_format_is_tried_here():
    assert MADE.keys() == FORMATS.keys()


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_path_without_a_format_is_told_its_own(name, number, tmp_path, capsys):
    path = MADE[name][number](tmp_path)
    assert detect(path) == [name]
    code, said = run(capsys, path, "--out", tmp_path / "out")
    assert code == 2 and f"looks like {name}. Run cog import {name} {path} --out FOLDER" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", FORMATS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_source_of_another_format_is_named_in_the_error(name, wrong, tmp_path, capsys):
    if name == wrong:
        return
    path = MADE[name][0](tmp_path)
    code, said = run(capsys, wrong, path, "--out", tmp_path / "out")
    assert code == 2
    assert f"no source of the format {wrong}, but looks like {name}. Run cog import {name} {path}" in said
    assert "damaged" not in said and not (tmp_path / "out").exists()


def test_a_folder_of_files_names_the_first_of_them(tmp_path, capsys):
    (tmp_path / "suite").mkdir()
    file = write_robomimic(tmp_path / "suite/task.hdf5", robomimic_arrays((2,)))
    code, said = run(capsys, tmp_path / "suite", "--out", tmp_path / "out")
    assert code == 2 and f"Run cog import robomimic {file} --out FOLDER" in said


def test_a_file_of_a_dataset_in_several_files_names_its_folder(tmp_path, capsys):
    folder = write_minari(tmp_path / "arm-v0", minari_arrays())
    code, said = run(capsys, folder / "data/main_data.hdf5", "--out", tmp_path / "out")
    assert code == 2 and f"Run cog import minari {folder}" in said


@pytest.mark.parametrize("part", ["data", "data/action", "meta/episode_ends/.zarray"])
def test_a_part_of_a_store_names_the_store_with_a_format_and_without(part, tmp_path, capsys):
    folder = store(write_folder, tmp_path / "a.zarr")
    for given in ([], ["diffusion_policy"]):
        code, said = run(capsys, *given, folder / part, "--out", tmp_path / "out")
        assert code == 2 and f"Run cog import diffusion_policy {folder} --out FOLDER" in said, said


def empty_hdf5(path):
    h5py.File(path, "w").close()


@pytest.mark.parametrize(
    ("name", "make", "named"),
    [
        ("a.txt", lambda path: path.write_text("hello"), "it looks like none that is read"),
        ("a.hdf5", empty_hdf5, "none that is read"),
        ("a.zip", lambda path: zipfile.ZipFile(path, "w").close(), "none that is read"),
        ("a.npy", lambda path: np.save(path, np.zeros(3)), "none that is read"),
        ("empty", lambda path: path.mkdir(), "none that is read"),
        ("a.bag", lambda path: path.write_bytes(b"#ROSBAG"), "it is a ROS bag, which is not read yet"),
        ("a.tfrecord-00000-of-00005", lambda path: path.write_bytes(b"x"), "TensorFlow records"),
        ("a.pkl", lambda path: path.write_bytes(b"x"), "it is a pickle, which is not read yet"),
    ],
)
def test_what_no_importer_reads_is_named_with_the_writer_as_the_way(name, make, named, tmp_path, capsys):
    make(tmp_path / name)
    code, said = run(capsys, tmp_path / name, "--out", tmp_path / "out")
    assert code == 2 and named in said and "cog.DatasetWriter" in said, said


def test_a_dataset_of_cog_needs_no_import(tmp_path, capsys):
    source = test_ogbench.write(tmp_path / "a.npz", test_ogbench.states([2]))
    assert cli.run(["import", "ogbench", str(source), "--out", str(tmp_path / "data")]) == 0
    capsys.readouterr()
    code, said = run(capsys, tmp_path / "data", "--out", tmp_path / "out")
    assert code == 2 and "a dataset of cog already" in said


def test_a_missing_file_is_called_missing(tmp_path, capsys):
    code, said = run(capsys, tmp_path / "none.hdf5", "--out", tmp_path / "out")
    assert code == 1 and "there is no such file or folder" in said


def test_a_mistyped_format_is_still_corrected(capsys):
    code, said = run(capsys, "manyskill", "a.h5", "--out", "b")
    assert code == 2 and "Did you mean 'maniskill'?" in said


def test_an_archive_that_is_cut_off_is_told_as_such(tmp_path, capsys):
    path = test_ogbench.write(tmp_path / "a.npz", test_ogbench.states([2, 3]))
    path.write_bytes(path.read_bytes()[:-60])
    code, said = run(capsys, path, "--out", tmp_path / "out")
    assert code == 2 and "it is cut off" in said and "Copy or download the file again" in said


@pytest.mark.parametrize("format", [[], ["robomimic"]])
def test_a_file_that_is_cut_off_is_told_as_such_with_and_without_a_format(format, tmp_path, capsys):
    path = write_robomimic(tmp_path / "demo.hdf5", robomimic_arrays((2,)))
    path.write_bytes(path.read_bytes()[:-100])
    assert cli.run(["import", *format, str(path), "--out", str(tmp_path / "out")]) == 1
    assert "cannot be read as HDF5: it is cut off" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("format", [[], ["robomimic"]])
@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "it is empty"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull")],
)
def test_files_that_are_empty_or_were_not_fetched_are_told_as_such(format, content, told, tmp_path, capsys):
    (tmp_path / "demo.hdf5").write_bytes(content)
    assert cli.run(["import", *format, str(tmp_path / "demo.hdf5"), "--out", str(tmp_path / "out")]) in (1, 2)
    assert told in " ".join(capsys.readouterr().err.split())
