"""Repair puts the same bytes back or changes nothing, and no kill on the way makes anything worse."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from cog import cli
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.materialise import materialise
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.claim import locked
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.repair import repair
from cog.datasets.storage.verify import verify
from cog.errors import CogError

SPEC = CollectionSpec(
    env="tests.helpers.toy_scene:toy/Line-v0",
    behaviours=(BehaviourChoice("reach"),),
    starts=("left", "middle"),
    image_size=8,
    episodes=8,
    episodes_per_shard=2,
    noise=0.2,
)


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A collection of four shards in a scene that needs no simulator."""
    folder = tmp_path_factory.mktemp("collected") / "data"
    collect(SPEC, folder, workers=1)
    return folder


@pytest.fixture
def data(collected, tmp_path):
    """The same, free to damage."""
    shutil.copytree(collected, tmp_path / "data")
    return tmp_path / "data"


def damage(path: Path) -> bytes:
    """Flip one bit in the middle of a file; returns its content after that."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)
    return bytes(content)


def test_damaged_and_missing_shards_are_collected_again_to_the_same_bytes(data, collected, frozen, capsys):
    broken = damage(data / "shards/00001.h5")
    (data / "shards/00003.h5").unlink()
    others = {name: (data / name).stat().st_mtime_ns for name in ("shards/00000.h5", "manifest.json")}
    assert cli.run(["verify", str(data), "--repair"]) == 0
    assert "sound" in capsys.readouterr().out
    after = frozen(data)
    assert after.pop("damaged/00001.h5") == broken
    assert after == frozen(collected)
    assert all((data / name).stat().st_mtime_ns == when for name, when in others.items())


def test_a_second_damage_gets_a_second_name(data, frozen):
    broken = []
    for _ in range(3):
        broken.append(damage(data / "shards/00001.h5"))
        repair(data, workers=1)
    after = frozen(data / "damaged")
    assert sorted(after) == ["00001.1.h5", "00001.2.h5", "00001.h5"]
    assert set(after.values()) == set(broken) == {broken[0]}


def test_a_sound_dataset_is_left_alone(data, frozen):
    before = frozen(data)
    done = repair(data, workers=1)
    assert (done.mended, done.set_aside, frozen(data)) == ((), (), before)


def test_other_episodes_than_the_manifest_names_never_take_their_place(data, frozen, monkeypatch):
    damage(data / "shards/00000.h5")
    before = frozen(data)
    monkeypatch.setattr("tests.helpers.toy_scene.Reach.act", lambda self: np.full(8, 0.25, np.float32))
    with pytest.raises(CogError, match=r"00000\.h5: collected again, the episodes differ from those"):
        repair(data, workers=1)
    assert frozen(data) == before


def test_episodes_that_cannot_be_collected_again_are_left_alone(data, tmp_path, frozen, capsys):
    relabel(data, "zero", "none")
    copy = materialise(data, tmp_path / "copy").path
    damage(copy / "shards/00000.h5")
    before = frozen(copy)
    assert cli.run(["verify", str(copy), "--repair"]) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "materialised" in message and "cannot be collected again" in message
    assert "Restore them from a copy" in message and "make the dataset again from ../data" in message
    assert frozen(copy) == before


@pytest.mark.parametrize("how", ["damaged", "missing", "of another dataset"])
def test_a_manifest_is_written_again_from_the_header_and_the_shards(how, data, collected, frozen):
    manifest = data / "manifest.json"
    wanted = manifest.read_bytes()
    if how == "damaged":
        manifest.write_bytes(wanted[:-20])
    elif how == "missing":
        manifest.unlink()
    else:
        manifest.write_text(json.dumps({**json.loads(wanted), "hash": "0"}))
    broken = manifest.read_bytes() if manifest.exists() else None
    repair(data, workers=1)
    after = frozen(data)
    assert after.pop("damaged/manifest.json", None) == broken
    assert after == frozen(collected)


def test_without_a_manifest_a_damaged_shard_is_not_guessed(data, frozen):
    (data / "manifest.json").write_text("{")
    damage(data / "shards/00002.h5")
    before = frozen(data)
    with pytest.raises(CogError, match=r"00002\.h5.*not known what this shard held"):
        repair(data, workers=1)
    assert frozen(data) == before


def test_a_manifest_without_a_header_is_left_alone(data, frozen):
    (data / "manifest.json").write_text("{")
    (data / "collection.json").unlink()
    before = frozen(data)
    with pytest.raises(CogError, match=r"because collection\.json"):
        repair(data, workers=1)
    assert frozen(data) == before


def test_a_merge_and_a_packed_dataset_are_refused(data, tmp_path, capsys):
    relabel(data, "zero", "none")
    assert cli.run(["pack", str(data), "--out", str(tmp_path / "p.zip")]) == 0
    assert cli.run(["merge", "--out", str(tmp_path / "m.json"), "--task", f"{data}@none"]) == 0
    for name in ("p.zip", "m.json"):
        with pytest.raises(CogError, match="only a dataset in a folder can be repaired"):
            repair(tmp_path / name)


def killed_at(n: int, data: Path) -> bool:
    """Repair in a child that is killed before its n-th change of the disk; whether it came that far."""
    child = os.fork()
    if child == 0:
        left = [n]

        def counted(real):
            def call(*arguments, **options):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        for module, name in ((os, "link"), (os, "fsync"), (os, "rename"), (os, "replace"), (os, "mkdir")):
            setattr(module, name, counted(getattr(module, name)))
        for name in ("write_bytes", "replace", "unlink"):
            setattr(Path, name, counted(getattr(Path, name)))
        try:
            repair(data, workers=1)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("victims", [("shards/00001.h5", "shards/00002.h5"), ("manifest.json",)])
def test_a_kill_at_any_change_leaves_damage_that_the_next_repair_mends(victims, collected, tmp_path, frozen):
    whole = frozen(collected)
    points = 0
    for n in range(200):
        data = tmp_path / str(n)
        shutil.copytree(collected, data)
        broken = {name: damage(data / name) if name.endswith("h5") else b"{" for name in victims}
        (data / "manifest.json").write_bytes(broken.get("manifest.json", whole["manifest.json"]))
        killed = killed_at(n, data)
        now = frozen(data)
        for name, content in whole.items():
            assert now[name] in (content, broken.get(name)), "a name holds the damaged file or the mended one"
        for name, content in broken.items():
            kept = [value for place, value in now.items() if place == name or place.startswith("damaged/")]
            assert content in kept, "the damaged file is never lost"
        repair(data, workers=1)
        assert verify(data) == []
        after = frozen(data)
        aside = {Path(name).name: after.pop(f"damaged/{Path(name).name}") for name in victims}
        assert aside == {Path(name).name: content for name, content in broken.items()}
        assert after == whole, "the same bytes, nothing beside them, and one copy of each damaged file"
        if not killed:
            break
        points += 1
    assert points >= 8 * len(victims)


def test_the_lock_keeps_repair_and_collection_apart(data):
    with locked(data), pytest.raises(CogError, match="another process"):
        repair(data)
    assert open_dataset(data).episode_count == 8
