"""The command line: exit codes, messages, and what it refuses."""

import inspect
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from cog import cli
from cog.algorithms.cql import CQL
from cog.commands import learn as learning
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
        "assert cli.run(['--help']) == 0\n"
        "heavy = {'torch', 'pybullet', 'gymnasium', 'h5py', 'wandb', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "commands = {name for name in sys.modules if name.startswith('cog.commands.')}\n"
        "assert not commands, commands\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    names = (
        "collect teleop relabel merge verify train evaluate finetune demo reproduce info filter split pack "
        "unpack sample why import export classify bench study"
    )
    assert set(names.split()) == set(cli.COMMANDS)
    for name, entry in cli.COMMANDS.items():
        assert f"{name} " in run.stdout and entry.help in run.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_commands_line_in_the_list_is_the_first_of_its_own_help(name):
    entry = cli.COMMANDS[name]
    assert inspect.getdoc(entry.load()).splitlines()[0] == entry.help


def test_an_unknown_command_names_the_nearest_one(capsys):
    assert cli.run(["colect"]) == 2
    assert capsys.readouterr().err == "cog: there is no command 'colect'. Did you mean 'collect'?\n"
    assert cli.run(["zzz"]) == 2
    shown = capsys.readouterr().err
    assert all(name in shown for name in cli.COMMANDS)


def test_no_command_at_all_lists_them_and_is_wrong_usage(capsys):
    assert cli.run([]) == 2
    assert "collect" in capsys.readouterr().err


def test_between_main_and_a_command_there_is_no_other_frame(monkeypatch):
    class Looks:
        def run(self):
            self.caller = inspect.currentframe().f_back.f_code

    command = Looks()
    monkeypatch.setattr(cli, "parse", lambda arguments: command)
    with pytest.raises(SystemExit):
        cli.main(["anything"])
    assert command.caller is cli.main.__code__


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
    assert command.config.algorithm.sampled_actions == 4 and command.config.algorithm.discount == 0.99
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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--evaluate-episodes", "-1"], "episodes is -1"),
        (["--evaluate-episodes", "1", "--seed", str(2**32)], "seed is"),
        (["--evaluate-episodes", "1", "--evaluate-starts", "open", "open"], "each only once"),
        (
            ["--evaluate-episodes", "1", "--evaluate-starts", "open"],
            "toy/Line-v0 has no start 'open'. Choose one of: left, middle",
        ),
    ],
)
def test_evaluations_that_cannot_run_are_refused_before_training(tmp_path, capsys, options, told):
    data = str(tmp_path / "data")
    line = ["--env", "tests.helpers.toy_scene:toy/Line-v0", "--start", "left", "--behaviour", "reach"]
    line += ["--image-size", "16", "--workers", "1"]
    assert cli.run(["collect", "--out", data, "--episodes", "1", *line]) == 0
    assert cli.run(["relabel", data, "--rule", "zero", "--name", "zero"]) == 0
    assert cli.run(["train", "--data", data, "--out", str(tmp_path / "run"), *options]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert told in shown and "--evaluate-starts" in shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("algorithm", ["cql", "bc"])
def test_progress_of_training_shows_losses(tmp_path, capsys, make_dataset, algorithm):
    data = make_dataset()
    assert cli.run(["relabel", str(data.path), "--rule", "object_height > 0.1", "--name", "high"]) == 0
    options = ["--data", str(data.path), "--out", str(tmp_path / "run"), "--batch-size", "4"]
    assert cli.run(["train", *options, "--updates", "1", "--algorithm", algorithm]) == 0
    names = {"cql": ("td_loss", "q_data"), "bc": ("actor_loss", "action_error")}[algorithm]
    shown = capsys.readouterr().err
    assert all(name in shown for name in names), shown


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
        "import gymnasium\nfrom tests.helpers.toy_scene import Line\n"
        "gymnasium.register('mine/Line-v0', entry_point=Line, max_episode_steps=3)\n"
    )
    script = tmp_path / "bin" / "cog"
    script.parent.mkdir()
    script.write_text("from cog.cli import main\nif __name__ == '__main__':\n    main()\n")
    root = str(Path(__file__).parents[2])
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


def test_from_main_to_the_critics_loss_it_is_ten_calls_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[str]] = []

    def spy(self: CQL, *arguments: object) -> object:
        names = [frame.name for frame in traceback.extract_stack()]
        found.append(names[names.index("main") :])
        raise KeyboardInterrupt

    monkeypatch.setattr(CQL, "critic_loss", spy)
    data = str(tmp_path / "data")
    collected = ["--episodes", "2", "--observation", "state", "--workers", "1"]
    assert cli.run(["collect", "--out", data, *collected]) == 0
    assert cli.run(["relabel", data, "--rule", "grasp_success", "--name", "success"]) == 0
    with pytest.raises(SystemExit):
        cli.main(["train", "--data", f"{data}@success", "--out", str(tmp_path / "run"), "--updates", "1"])
    assert len(found[0]) <= 10, found[0]  # the last of them is this spy in the loss's place


@pytest.mark.parametrize("option", ["--rule", "--only"])
def test_a_rule_may_begin_with_a_minus_sign(option):
    needed = {"--rule": "zero", "--name": "n", option: "-distance > 1"}
    parsed = cli.parse(["relabel", "data", *(text for pair in needed.items() for text in pair)])
    assert getattr(parsed, option.removeprefix("--")) == "-distance > 1"
    with pytest.raises(SystemExit):
        cli.parse(["relabel", "data", "--name", "n", "--rule", "--terminate"])


def test_a_path_that_looks_like_an_option_is_named_with_the_way_to_write_it(
    make_dataset, tmp_path, monkeypatch, capsys
):
    make_dataset("-minus", episodes=1)
    monkeypatch.chdir(tmp_path)
    for command in (["relabel", "-minus", "--rule", "zero", "--name", "v"], ["info", "-minus"]):
        assert cli.run(command) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert said == "cog: '-minus' is read as an option. Write ./-minus for the path"
    assert cli.run(["relabel", "./-minus", "--rule", "zero", "--name", "v"]) == 0
    assert cli.run(["relabel", "--rule", "zero", "--name", "w", "--", "-minus"]) == 0
    (tmp_path / "-1").touch()  # which stays a number
    assert cli.parse(["relabel", "./-minus", "--rule", "-1", "--name", "v", "--scale", "-1"]).scale == -1


@pytest.mark.parametrize(
    ("env", "remedy"),
    [
        ("Bright-v0", "Check its spelling; one that a module of yours registers is module:Bright-v0"),
        ("json:Bright-v0", "Check its spelling, and that importing the module registers it"),
    ],
)
def test_an_environment_that_is_not_registered_is_named_with_where_it_may_be(env, remedy, tmp_path, capsys):
    assert cli.run(["collect", "--env", env, "--out", str(tmp_path / "d"), "--episodes", "1"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"environment '{env}' cannot be built" in said and said.endswith(remedy)
