"""A packed dataset is the folder it came from, to the byte, for every reader; damage never passes."""

import contextlib
import shutil
import stat
import subprocess
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cog import cli
from cog.datasets.edit.config import FilterConfig
from cog.datasets.edit.filter import filter_dataset
from cog.datasets.info import describe
from cog.datasets.load import load
from cog.datasets.materialise import materialise
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.container import check_container, write_container
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.growing import GrowingDataset
from cog.datasets.storage.packed import pack_dataset, unpack_dataset
from cog.datasets.storage.verify import verify
from cog.errors import CogError
from tests.conftest import assert_same_episode, make_episode


@pytest.fixture
def folder(make_dataset):
    """A dataset with two views."""
    dataset = make_dataset("task")
    relabel(dataset.path, "grasp_success", "reward")
    relabel(dataset.path, "zero", "height.0")
    return dataset.path


@pytest.fixture
def packed(folder, tmp_path):
    pack_dataset(folder, tmp_path / "task.zip")
    return tmp_path / "task.zip"


def test_a_pack_unpacks_to_the_same_bytes_with_cog_and_with_any_other_tool(folder, packed, tmp_path, frozen):
    before = frozen(folder)
    assert unpack_dataset(packed, tmp_path / "back").hash == open_dataset(folder).hash
    assert frozen(tmp_path / "back") == before == frozen(folder)
    shutil.unpack_archive(packed, tmp_path / "plain")
    assert frozen(tmp_path / "plain") == before


def test_equal_datasets_give_equal_packs_whatever_else_lies_in_their_folder(folder, packed, tmp_path):
    (folder / "damaged").mkdir()
    (folder / "damaged/00000.h5").write_bytes(b"old")
    pack_dataset(folder, tmp_path / "again.zip")
    pack_dataset(packed, tmp_path / "copy.zip")
    assert (
        packed.read_bytes() == (tmp_path / "again.zip").read_bytes() == (tmp_path / "copy.zip").read_bytes()
    )


def test_a_pack_reads_like_the_folder_it_came_from(folder, packed, make_dataset, tmp_path):
    for one, other in zip(open_dataset(folder).episodes(), open_dataset(packed).episodes(), strict=True):
        assert_same_episode(one, other)
    assert verify(packed) == []
    facts, wanted = describe(packed), describe(folder)
    assert facts.pop("bytes") == packed.stat().st_size and wanted.pop("bytes")
    assert facts == wanted
    other = make_dataset("old", seed=1, task=False).path
    relabel(other, "zero", "none")
    prints = [
        load(
            write_merge(tmp_path / f"{place.name}.json", [f"{place}@reward"], [str(other)], 0.25)
        ).fingerprint
        for place in (folder, packed)
    ]
    assert prints[0] == prints[1]
    assert verify(tmp_path / "task.zip.json") == []
    chosen = [
        filter_dataset(place, tmp_path / f"f {place.name}", FilterConfig(min_length=5))
        for place in (folder, packed)
    ]
    assert chosen[0].hash == chosen[1].hash
    single = open_merge(tmp_path / "task.zip@reward")
    assert single.sources[0].name == "task"
    copies = [
        materialise(tmp_path / f"{name}@reward", tmp_path / f"m {name}") for name in ("task", "task.zip")
    ]
    assert load(copies[0]).fingerprint == load(copies[1]).fingerprint == load(single).fingerprint


def test_a_pack_with_one_view_opens_without_naming_it(make_dataset, tmp_path):
    path = make_dataset().path
    relabel(path, "grasp_success", "reward")
    pack_dataset(path, tmp_path / "p")
    assert load(open_merge(tmp_path / "p")).fingerprint == load(open_merge(path)).fingerprint
    copy = materialise(tmp_path / "p", tmp_path / "copy")
    assert load(copy).fingerprint == load(open_merge(path)).fingerprint


def test_a_pack_takes_no_new_view_and_says_what_to_do(packed, capsys):
    before = packed.read_bytes()
    assert cli.run(["relabel", str(packed), "--rule", "zero", "--name", "new"]) == 1
    assert "Unpack it with cog unpack" in " ".join(capsys.readouterr().err.split())
    assert cli.run(["relabel", str(packed), "--rule", "grasp_success", "--name", "reward"]) == 0
    assert packed.read_bytes() == before


def test_every_flipped_bit_and_every_truncation_is_found_by_verify_and_unpack(packed, tmp_path):
    data = packed.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [bytearray(data) for _ in range(150)]
    for copy in damaged:
        copy[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    damaged += [bytearray(data[: int(rng.integers(len(data)))]) for _ in range(50)]
    for copy in damaged:
        packed.write_bytes(copy)
        problems = verify(packed)
        assert problems and all(str(packed) in str(problem) for problem in problems)
        with pytest.raises(CogError, match=r"task\.zip"):
            unpack_dataset(packed, tmp_path / "back")
        assert not (tmp_path / "back").exists()


def test_damage_in_a_shard_of_a_pack_names_the_shard(packed):
    with zipfile.ZipFile(packed) as archive:
        place = archive.getinfo("shards/00001.h5").header_offset + 3000
    data = bytearray(packed.read_bytes())
    data[place] ^= 1
    packed.write_bytes(data)
    assert any("shards/00001.h5" in str(problem) for problem in verify(packed))
    with pytest.raises(CogError, match=r"task\.zip"):
        list(open_dataset(packed).episodes())


def rewritten(packed, change):
    """The members of a pack, changed, as an archive that carries a true hash again."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    packed.unlink()
    write_container(packed, change(members).items())


def test_a_forged_shard_is_refused_although_the_archive_is_whole(packed):
    rewritten(packed, lambda members: {**members, "shards/00001.h5": members["shards/00000.h5"]})
    assert check_container(packed, content=True)
    assert "00001.h5" in str(verify(packed)[0])


def test_a_missing_member_is_named(packed):
    rewritten(packed, lambda members: {k: v for k, v in members.items() if k != "shards/00002.h5"})
    assert [problem.file.name for problem in verify(packed)] == ["00002.h5"]


@pytest.mark.parametrize("kind", ["outside", "absolute", "link", "deflated", "twice", "other"])
def test_whatever_is_not_a_file_of_a_dataset_is_refused(kind, packed, tmp_path):
    name = {"outside": "../evil.json", "absolute": "/evil.json", "other": "notes.pkl"}.get(
        kind, "collection.json"
    )
    info = zipfile.ZipInfo("manifest.json" if kind == "twice" else name)
    info.external_attr = (stat.S_IFLNK if kind == "link" else stat.S_IFREG) << 16
    info.compress_type = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(info, b"{}" * 100)
    for attempt in (open_dataset, lambda path: unpack_dataset(path, tmp_path / "back")):
        with pytest.raises(CogError, match=r"task\.zip"):
            attempt(packed)
    assert verify(packed)
    assert not (tmp_path / "back").exists() and not (tmp_path / "evil.json").exists()


def test_another_archive_is_no_dataset(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("manifest.json", "{}")
    for attempt in (open_dataset, open_merge, describe, lambda path: relabel(path, "zero", "none")):
        with pytest.raises(CogError, match=r"other\.zip.*not a dataset packed by cog"):
            attempt(tmp_path / "other.zip")


def test_packing_refuses_what_it_cannot_carry_whole(folder, tmp_path, frozen):
    write_merge(tmp_path / "m.json", [f"{folder}@reward"])
    materialise(tmp_path / "m.json", tmp_path / "m")
    for path in (tmp_path / "m.json", tmp_path / "m"):
        with pytest.raises(CogError, match="only a dataset can be packed"):
            pack_dataset(path, tmp_path / "out.zip")
    with pytest.raises(CogError, match="exists already"):
        pack_dataset(folder, tmp_path / "m.json")
    shard = folder / "shards/00001.h5"
    shard.write_bytes(shard.read_bytes()[:-1])
    before = frozen(tmp_path)
    with pytest.raises(CogError, match=r"00001\.h5.*differs from the hash"):
        pack_dataset(folder, tmp_path / "out.zip")
    shard.unlink()
    del before["task/shards/00001.h5"]
    with pytest.raises(CogError, match=r"00001\.h5.*cannot be read"):
        pack_dataset(folder, tmp_path / "out.zip")
    assert frozen(tmp_path) == before


def test_a_dataset_that_grows_while_it_is_packed_is_refused(tmp_path, monkeypatch):
    growing = GrowingDataset(tmp_path / "data", {"kind": "made"}, {})
    growing.append([make_episode(np.random.default_rng(0), 3)])

    def grow(dataset):
        growing.append([make_episode(np.random.default_rng(1), 3)])
        return []

    with monkeypatch.context() as patch, pytest.raises(CogError, match="changed while it was read"):
        patch.setattr("cog.datasets.storage.packed.view_names", grow)
        pack_dataset(tmp_path / "data", tmp_path / "p.zip")
    assert not (tmp_path / "p.zip").exists()
    assert pack_dataset(tmp_path / "data", tmp_path / "p.zip").episode_count == 2


def test_unpacking_never_writes_into_a_folder_that_holds_something(packed, folder, frozen):
    before = frozen(folder)
    with pytest.raises(CogError, match="not empty"):
        unpack_dataset(packed, folder)
    with pytest.raises(CogError, match="no packed dataset"):
        unpack_dataset(folder, folder / "new")
    assert frozen(folder) == before


def test_a_full_disk_leaves_no_pack(folder, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(CogError, match="No space left"):
            pack_dataset(folder, small / "task.zip")
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_commands_pack_and_unpack(folder, tmp_path, capsys):
    assert cli.run(["pack", str(folder), "--out", str(tmp_path / "p.zip")]) == 0
    assert cli.run(["unpack", str(tmp_path / "p.zip"), "--out", str(tmp_path / "back")]) == 0
    assert cli.run(["verify", str(tmp_path / "p.zip")]) == 0
    out = capsys.readouterr().out
    assert out.count("7 episodes") == 2 and "sound" in out


NAME_PARTS = st.text(st.sampled_from("0a_-.é\u0663\u0967二ß/\\ "), min_size=1, max_size=9)
FORMS = ("{}", "shards/{}.h5", "relabels/{}.json")


def allowed(name):
    """By its definition: plain ASCII names, and letters in the names of earlier versions' views."""
    folder, _, file = name.rpartition("/")
    stem, dot, ending = file.rpartition(".")
    if folder == "shards":
        return ending == "h5" and len(stem) >= 5 and all(one in "0123456789" for one in stem)
    if folder == "relabels" and dot and ending == "json" and stem:
        return stem[0] not in ".-" and all(one in "0123456789_.-" or one.isalpha() for one in stem)
    return name in ("manifest.json", "collection.json")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.one_of(
        NAME_PARTS, *(NAME_PARTS.map(form.format) for form in ("shards/{}.h5", "relabels/{}.json"))
    )
)
@example(name="shards/\u0660\u0660\u0660\u0660\u0661.h5")  # a number in Arabic digits
@example(name="shards/00009.h5\n")
@example(name="relabels/\u0661.json")
@example(name="relabels/höhe.0.json")
def test_a_pack_holds_members_of_plain_names_alone(name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    write_container(folder / "whole.zip", [("manifest.json", b"{}")])
    with zipfile.ZipFile(folder / "whole.zip") as archive:
        comment = archive.comment
    with zipfile.ZipFile(folder / "forged.zip", "w") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
        archive.writestr(info, b"{}")
        archive.comment = comment
    if allowed(name):
        assert check_container(folder / "forged.zip") == [name]
    else:
        with pytest.raises(CogError, match="plain ASCII name"):
            check_container(folder / "forged.zip")
    plain = allowed(name) and name.isascii()
    with contextlib.nullcontext() if plain else pytest.raises(CogError, match="plain ASCII name"):
        write_container(folder / "new.zip", [(name, b"{}")])
    assert (folder / "new.zip").exists() == plain


def test_a_view_whose_name_cannot_be_packed_is_named_with_the_way(folder, tmp_path):
    relabel(folder, "zero", "höhe")
    with pytest.raises(CogError, match=r"relabels/höhe\.json.*made again under a name of ASCII letters"):
        pack_dataset(folder, tmp_path / "new.zip")
    (folder / "relabels/höhe.json").unlink()
    relabel(folder, "zero", "hoehe")
    assert "hoehe" in describe(pack_dataset(folder, tmp_path / "new.zip").path)["views"]
