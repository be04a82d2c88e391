"""The README's commands work as printed, with smaller numbers; its facts match the code."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from cog import cli
from cog.evaluation.intervals import wilson
from cog.experiments.paper.recipes import RECIPES
from cog.experiments.tables.rows import page, summary

README = Path(__file__).parents[2] / "README.md"
SMALLER = {
    "--episodes 2000": "--episodes 3 --workers 1",
    "--episodes 1500": "--episodes 3 --workers 1",
    "--updates 7000": "--updates 2 --batch-size 8",
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
    from cog.envs import SCENES
    from cog.envs.make import scene_class

    text = README.read_text()
    for scene in map(scene_class, SCENES):
        for name in [*scene.starts, *scene.behaviours]:
            assert f"`{name}`" in text, name


def test_the_readme_names_every_folder_it_maps():
    for name in re.findall(r"^\| `(\w+)/`", README.read_text(), flags=re.M):
        assert (README.parent / name).is_dir(), name


def test_the_command_named_in_the_readme_is_the_entry_point():
    assert callable(cli.main)


ROWS = ("closed", "blocked_drawer", "blocked_object", "pick_place")


def committed_results() -> list[dict[str, Any]]:
    """The committed results of the paper's rows, in their order; those from the simulator's state last.

    A row whose arms were run by two commands has a second file.
    """
    docs = README.parent / "docs"
    names = [f"{kind}_{row}" for kind in ("reproduce", "state") for row in ROWS]
    files = [docs / f"{name}{part}.json" for name in names for part in ("", "_arms")]
    assert {path for kind in ("reproduce", "state") for path in docs.glob(f"{kind}_*.json")} <= set(files)
    return [json.loads(path.read_text()) for path in files if path.exists()]


def test_the_readme_and_its_page_print_the_committed_results_of_the_papers_rows():
    results = committed_results()
    assert (README.parent / "docs/reproduce.md").read_text() == page(results)
    assert "\n".join(summary(results)) in README.read_text()


def test_the_summary_of_a_row_counts_its_own_episodes():
    (result, *_) = [found for found in committed_results() if found["config"]["observation"] == "image"]
    row = result["config"]["rows"][0]
    (line,) = [text for text in summary([result]) if text.startswith(f"| {row} | `cog` |")]
    own = [n["last_step"] for n in result["results"] if (n["arm"], n["start"]) == ("cog", row)]
    counts = [number["successes"] for number in own]
    rate = wilson(sum(counts), sum(number["episodes"] for number in own))
    expected = f"{', '.join(map(str, counts))} of 100 | {rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}] |"
    assert expected in line


def test_the_committed_results_were_made_by_the_recipes_as_they_are():
    for result in committed_results():
        for fact in result["data"]:
            recipe = RECIPES[fact["row"]]
            specs = (recipe.task,) if fact["role"] == "task" else recipe.priors
            assert fact["episodes"] in [spec.episodes for spec in specs], (result["command"], fact["data"])
