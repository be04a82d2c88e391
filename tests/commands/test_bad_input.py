"""Bad input at the command line: exit code, a message that names what is wrong, and nothing overwritten."""

import shutil
from pathlib import Path

import pytest

from cog import cli
from cog.core.files import hash_file

COLLECT = ["collect", "--episodes", "2", "--episodes-per-shard", "1", "--workers", "1", "--max-steps", "4"]
TRAIN = ["train", "--updates", "2", "--batch-size", "4", "--log-every", "1"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A tiny dataset with a view, and a run trained on it."""
    root = tmp_path_factory.mktemp("chain")
    data, run = root / "data", root / "run"
    assert cli.run([*COLLECT, "--out", str(data)]) == 0
    assert cli.run(["relabel", str(data), "--rule", "grasp_success", "--name", "success"]) == 0
    assert cli.run(["merge", "--out", str(root / "merge.json"), "--task", f"{data}@success"]) == 0
    assert cli.run([*TRAIN, "--data", str(root / "merge.json"), "--out", str(run)]) == 0
    return root


@pytest.fixture
def copy(chain, tmp_path):
    """The same, free to damage."""
    shutil.copytree(chain, tmp_path / "chain")
    return tmp_path / "chain"


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all files below a folder."""
    return {str(path): hash_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(arguments: list[str], folder: Path, capsys) -> str:
    """Run a command that must fail with 1 and change nothing below `folder`; returns its message."""
    before = contents(folder)
    capsys.readouterr()
    assert cli.run(arguments) == 1
    assert contents(folder) == before
    return " ".join(capsys.readouterr().err.split())


LEADING_NOWHERE = {
    "merge": ["merge", "--task", "DATA@success", "--out", "LINK"],
    "export": ["export", "robomimic", "DATA@success", "--out", "LINK"],
    "pack": ["pack", "DATA", "--out", "LINK"],
    "filter": ["filter", "DATA", "--min-length", "1", "--out", "LINK"],
    "collect": [*COLLECT, "--out", "LINK"],
    "train": [*TRAIN, "--data", "DATA@success", "--out", "LINK"],
    "read a dataset": ["info", "LINK"],
    "read a merge": [*TRAIN, "--data", "LINK", "--out", "run"],
    "read a run": ["why", "LINK"],
}


@pytest.mark.parametrize("command", LEADING_NOWHERE)
def test_a_link_to_what_does_not_exist_is_called_that_with_where_it_points(command, chain, tmp_path, capsys):
    (link := tmp_path / "link").symlink_to(tmp_path / "gone")
    words = {"LINK": str(link), "DATA": str(chain / "data")}
    arguments = [words.get(word, word.replace("DATA", words["DATA"])) for word in LEADING_NOWHERE[command]]
    message = refused(arguments, tmp_path, capsys)
    assert f"a link to {tmp_path / 'gone'}, which does not exist" in message
    assert link.is_symlink() and not (tmp_path / "gone").exists()


def truncate(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-1000])


def flip_one_bit(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes(bytes(data))


def write_other_content(shard: Path) -> None:
    shard.write_text("these are notes, no shard")


@pytest.mark.parametrize("damage", [truncate, flip_one_bit, write_other_content])
def test_a_damaged_shard_is_named_by_verify_and_refused_by_training(damage, copy, capsys):
    damage(copy / "data/shards/00001.h5")
    assert "00001.h5" in refused(["verify", str(copy / "data")], copy, capsys)
    arguments = [*TRAIN, "--data", str(copy / "merge.json"), "--out", str(copy.parent / "new")]
    assert "00001.h5" in refused(arguments, copy, capsys)


def test_a_checkpoint_of_another_configuration_is_refused_by_field(copy, capsys):
    arguments = [*TRAIN, "--data", str(copy / "merge.json"), "--out", str(copy / "run"), "--resume"]
    message = refused([*arguments, "--cql.discount", "0.9"], copy, capsys)
    assert "cql.discount" in message


def test_a_folder_that_holds_another_run_is_refused(copy, capsys):
    message = refused([*COLLECT, "--out", str(copy / "data"), "--seed", "7"], copy, capsys)
    assert "seed" in message
    train = [*TRAIN, "--data", str(copy / "merge.json"), "--out"]
    assert "--resume" in refused([*train, str(copy / "run")], copy, capsys)
    assert "not empty" in refused([*train, str(copy / "data")], copy, capsys)


@pytest.mark.parametrize(
    "body, complaint",
    [
        ("np.full(len(episode), np.nan)", "finite"),
        ("np.zeros(len(episode) + 1)", "5"),
        ("None", "bad:reward"),
    ],
    ids=["NaN", "wrong length", "nothing"],
)
def test_a_reward_function_that_misbehaves_is_named_with_its_episode(
    body, complaint, copy, capsys, monkeypatch, tmp_path
):
    source = f"import numpy as np\n\ndef reward(episode):\n    return {body}\n"
    (tmp_path / "bad.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "bad", raising=False)
    arguments = ["relabel", str(copy / "data"), "--rule", "bad:reward", "--name", "mine"]
    message = refused(arguments, copy, capsys)
    assert "bad:reward" in message and "episode 0" in message and complaint in message


def test_a_policy_for_other_images_is_refused_before_it_acts(copy, capsys):
    arguments = ["evaluate", "--checkpoint", str(copy / "run"), "--out", str(copy / "eval")]
    capsys.readouterr()
    assert cli.run([*arguments, "--starts", "ajar", "--workers", "1"]) == 2
    assert "ajar" in capsys.readouterr().err and not (copy / "eval").exists()


def test_a_full_disk_fails_clearly_and_keeps_finished_shards(tmp_path, capsys, monkeypatch):
    from cog.core import files

    out = tmp_path / "data"
    real = files.fsync
    written: list[str] = []

    def full_after_one_shard(path: Path) -> None:
        if path.name.startswith(".") and ".h5." in path.name:
            written.append(path.name)
            if len(written) > 1:
                raise OSError(28, "No space left on device")
        real(path)

    monkeypatch.setattr(files, "fsync", full_after_one_shard)
    assert cli.run([*COLLECT, "--out", str(out)]) == 1
    assert "No space left" in capsys.readouterr().err
    assert [path.name for path in (out / "shards").iterdir()] == ["00000.h5"]
    monkeypatch.setattr(files, "fsync", real)
    assert cli.run([*COLLECT, "--out", str(out)]) == 0
    assert cli.run(["verify", str(out)]) == 0
