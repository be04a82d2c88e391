"""The scripts of experiments tell an error in one line and exit as `cog` does."""

import sys

import pytest

from cog.experiments.bench.data import BenchData
from cog.experiments.bench.environment import BenchEnvironment, make_scene
from cog.experiments.script import script
from cog.experiments.tables.behaviours import MeasureBehaviours
from cog.experiments.tables.demo import Summarise, summarise
from cog.experiments.tables.finetune import SummariseFinetune
from cog.experiments.tables.finetune import summarise as summarise_finetune
from cog.experiments.tables.rows import SummariseRows
from cog.experiments.tables.rows import summarise as summarise_rows


@pytest.mark.parametrize(
    "settings, work, words, code",
    [
        (Summarise, summarise, "--runs nowhere", 1),
        (Summarise, summarise, "--runs", 2),
        (SummariseFinetune, summarise_finetune, "--runs nowhere", 1),
        (SummariseRows, summarise_rows, "--results nowhere.json --out page.md", 1),
        (MeasureBehaviours, None, "--episodes 0", 2),
        (BenchData, None, "--rounds 0", 2),
        (BenchData, None, "--source-steps 0", 2),
        (BenchEnvironment, None, "--rounds 0", 2),
        (BenchEnvironment, make_scene, "--env cog/Nope-v0", 2),
        (BenchEnvironment, make_scene, "--start nowhere", 2),
    ],
)
def test_an_error_becomes_one_line_and_the_exit_code_of_cog(
    settings, work, words, code, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["script", *words.split()])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        script(settings, work)
    assert ended.value.code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cog: ")
    assert not list(tmp_path.iterdir())


def test_work_that_is_done_exits_with_0(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script", "--rounds", "3"])
    done = []
    with pytest.raises(SystemExit) as ended:
        script(BenchData, done.append)
    assert (ended.value.code, done) == (0, [BenchData(rounds=3)])
