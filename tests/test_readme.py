"""The README's commands work as printed, with smaller numbers; its facts match the code."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cog import cli

README = Path(__file__).parent.parent / "README.md"
SMALLER = {
    "--episodes 1000": "--episodes 3 --workers 1",
    "--episodes 1500": "--episodes 3 --workers 1",
    "--updates 8000": "--updates 2 --batch-size 8",
    "--episodes 500": "--episodes 10 --updates-per-episode 1 --evaluate-episodes 1 --max-episode-steps 3",
    "--episodes 100": "--episodes 1 --max-episode-steps 3 --workers 1",
}


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.S)


def test_every_command_of_the_readme_runs(tmp_path):
    (source,) = [block for block in blocks("python") if block.startswith("# rewards.py")]
    (tmp_path / "rewards.py").write_text(source)
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("cog ")]
    assert len(commands) >= 9
    used = set()
    for command in commands:
        for large, small in SMALLER.items():
            used |= {large} if large in command else set()
            command = command.replace(large, small)
        words = [sys.executable, "-m", "cog.cli", *shlex.split(command)[1:]]
        run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{command}\n{run.stderr}"
    assert used == set(SMALLER)
    assert (tmp_path / "runs/cog/evaluation/evaluation.json").exists()


def test_the_readme_names_every_start_and_behaviour():
    from cog.envs import double_drawer, pick_place
    from cog.envs.behaviours import BEHAVIOURS

    text = README.read_text()
    for name in [*double_drawer.STARTS, *pick_place.STARTS, *BEHAVIOURS]:
        assert f"`{name}`" in text, name


def test_the_readme_names_every_folder_it_maps():
    for name in re.findall(r"^\| `(\w+)/`", README.read_text(), flags=re.M):
        assert (README.parent / name).is_dir(), name


def test_the_command_named_in_the_readme_is_the_entry_point():
    assert callable(cli.main)


@pytest.mark.parametrize(
    "path",
    [
        path
        for name in ("reproduce", "state")
        for path in sorted((README.parent / "docs").glob(f"{name}_*.json"))
    ],
    ids=lambda path: path.stem,
)
def test_the_readme_prints_the_committed_results_of_the_papers_rows(path):
    lines = README.read_text().splitlines()
    for result in json.loads(path.read_text())["results"]:
        if result["arm"].endswith("task_only") and result["start"] not in (result["row"], "open"):
            continue  # the README leaves these out
        rate = result["last_step"]
        cell = f"{rate['successes']}/{rate['episodes']} [{rate['low']:.2f}, {rate['high']:.2f}]"
        row = result["row"] + ", state" * path.stem.startswith("state")
        begin = f"| {row} | {result['start']} | {result['arm']} |"
        (line,) = [text for text in lines if text.startswith(begin)]
        assert line.split(" | ")[3 + result["seed"]] == cell
