"""The command line: exit codes, messages, and what it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cog import cli
from cog.commands import learning
from cog.errors import CogError


def cog(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in another process."""
    return subprocess.run(
        [sys.executable, "-m", "cog.cli", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_help_names_every_command_without_loading_torch_or_pybullet():
    code = (
        "import sys\n"
        "from cog import cli\n"
        "try:\n    cli.run(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'pybullet', 'gymnasium', 'h5py', 'wandb'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    names = (
        "collect teleop relabel merge verify train evaluate finetune demo reproduce info filter split pack "
        "unpack sample why import export classify bench"
    )
    for name in names.split():
        assert name in run.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["juggle"],
        ["collect"],
        ["collect", "--out", "x", "--episodes", "2", "--vigour", "1"],
        ["train", "--data", "x", "--out", "y", "--preset", "gpu"],
        ["train", "--data", "x", "--out", "y", "--updates", "0"],
        ["train", "--data", "x", "--out", "y", "--cql.discount", "1.5"],
        ["collect", "--out", "x", "--episodes", "2", "--start", "ajar"],
        ["collect", "--out", "x", "--episodes", "2", "--behaviour", "juggle"],
        ["filter", "x", "--out", "y", "--success", "maybe"],
        ["split", "x", "--out", "y", "--shares", "1", "1"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_writes_nothing(arguments, tmp_path):
    run = cog(*arguments, cwd=tmp_path)
    assert run.returncode == 2, run.stderr
    assert run.stderr.strip() and "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "nowhere"],
        ["info", "nowhere"],
        ["relabel", "nowhere", "--rule", "zero", "--name", "zero"],
        ["verify", "nowhere", "--repair"],
        ["filter", "nowhere", "--out", "y", "--min-length", "2"],
        ["split", "nowhere", "--out", "y", "z"],
        ["pack", "nowhere", "--out", "y"],
        ["unpack", "nowhere", "--out", "y"],
        ["merge", "--out", "m.json", "--task", "nowhere@success"],
        ["train", "--data", "nowhere.json", "--out", "run"],
        ["evaluate", "--checkpoint", "nowhere", "--out", "evaluation"],
    ],
    ids=" ".join,
)
def test_missing_inputs_exit_with_1_and_name_the_path(arguments, tmp_path):
    run = cog(*arguments, cwd=tmp_path)
    assert run.returncode == 1, run.stderr
    assert "nowhere" in run.stderr and "Traceback" not in run.stderr


def test_an_error_of_the_toolkit_becomes_one_line_and_exit_code_1(monkeypatch, capsys):
    class Broken:
        def run(self):
            raise CogError("the shelf is bent")

    monkeypatch.setattr(cli, "parse", lambda arguments: Broken())
    assert cli.run(["anything"]) == 1
    assert "the shelf is bent" in capsys.readouterr().err


def test_a_preset_gives_the_defaults_and_options_change_them():
    command = cli.parse(
        ["train", "--preset", "paper", "--data", "d", "--out", "o", "--cql.sampled-actions", "4"]
    )
    assert isinstance(command, learning.Train)
    assert command.config.batch_size == 256 and command.config.network.encoder == "paper"
    assert command.config.cql.sampled_actions == 4 and command.config.cql.discount == 0.99
    assert cli.parse(["train", "--data", "d", "--out", "o"]).config.network.use_proprio


def test_training_shows_the_latest_success_rate_when_asked(tmp_path, capsys):
    data = str(tmp_path / "data")
    assert cli.run(["collect", "--out", data, "--episodes", "1", "--max-steps", "4", "--workers", "1"]) == 0
    assert cli.run(["relabel", data, "--rule", "grasp_success", "--name", "success"]) == 0
    out = tmp_path / "run"
    options = ["--updates", "2", "--batch-size", "4", "--checkpoint-every", "1"]
    evaluation = ["--evaluate-episodes", "1", "--evaluate-starts", "open"]
    assert cli.run(["train", "--data", data, "--out", str(out), *options, *evaluation]) == 0
    assert "success at 2: open 0/1" in capsys.readouterr().out
    assert (out / "evaluations/0000001/evaluation.json").exists()


def test_several_seeds_train_in_folders_of_their_own(tmp_path, capsys):
    data, out = str(tmp_path / "data"), tmp_path / "run"
    assert cli.run(["collect", "--out", data, "--episodes", "1", "--max-steps", "4", "--workers", "1"]) == 0
    assert cli.run(["relabel", data, "--rule", "grasp_success", "--name", "success"]) == 0
    train = ["train", "--data", data, "--out", str(out), "--batch-size", "4", "--seeds", "3", "7"]
    evaluation = ["--evaluate-episodes", "1", "--evaluate-starts", "open"]
    assert cli.run([*train, "--updates", "1"]) == 0
    assert cli.run([*train, "--updates", "2", "--resume", *evaluation]) == 0
    shown = capsys.readouterr().out
    for seed in (3, 7):
        assert f"success of seed {seed} at 2: open 0/1" in shown
        assert (out / f"seed{seed}/evaluations/0000002/evaluation.json").exists()
    assert cli.run([*train, "--updates", "2"]) == 1


def test_results_are_verified_with_all_they_were_made_from(tmp_path, capsys):
    (tmp_path / "evaluation.json").write_text("{}")
    assert cli.run(["verify", str(tmp_path)]) == 2
    assert "--deep" in capsys.readouterr().err


def test_relabel_and_merge_note_what_may_not_have_been_meant(tmp_path, capsys):
    data = str(tmp_path / "data")
    assert cli.run(["collect", "--out", data, "--episodes", "1", "--max-steps", "4", "--workers", "1"]) == 0
    assert cli.run(["relabel", data, "--rule", "object_height > 9", "--name", "never"]) == 0
    assert "note: no step has a reward" in capsys.readouterr().err
    assert cli.run(["merge", "--out", str(tmp_path / "m.json"), "--task", f"{data}@never"]) == 0
    assert "note: no task source has a reward" in capsys.readouterr().err


def test_scenes_of_ones_own_are_found_in_the_current_folder(tmp_path):
    (tmp_path / "my_scene.py").write_text(
        "import gymnasium\nfrom tests.toy_scene import Line\n"
        "gymnasium.register('mine/Line-v0', entry_point=Line, max_episode_steps=3)\n"
    )
    script = tmp_path / "bin" / "cog"
    script.parent.mkdir()
    script.write_text("from cog.cli import main\nif __name__ == '__main__':\n    main()\n")
    root = str(Path(__file__).parents[1])
    options = ["--behaviour", "reach", "--start", "left", "--image-size", "16", "--episodes", "1"]
    options += ["--env", "my_scene:mine/Line-v0", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, script, "collect", "--out", "data", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 episodes, 3 steps" in done.stdout
