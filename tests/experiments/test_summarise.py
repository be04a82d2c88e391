"""The table over seeds: every cell once, quick demos refused."""

import pytest

from cog.core.files import read_json, write_json
from cog.errors import CogError, UsageError
from cog.experiments.tables.demo import ORDER, draw, gather, markdown


@pytest.fixture
def runs(tmp_path):
    """Two finished demos of different seeds."""
    for seed in (3, 4):
        results = [
            {
                "arm": arm,
                "start": start,
                "successes": seed + len(arm),
                "episodes": 100,
                "low": 0.01,
                "high": 0.3,
            }
            for arm in ORDER
            for start in ("open", "closed")
        ]
        summary = {
            "quick": False,
            "config": {"seed": seed},
            "results": results,
            "seconds": {"total": 1.0},
            "versions": {},
            "machine": {},
        }
        write_json(tmp_path / str(seed) / "summary.json", summary)
    return [tmp_path / "3", tmp_path / "4"]


def test_the_table_has_one_cell_for_each_arm_start_and_seed(runs, tmp_path):
    table = gather(runs)
    assert len(table["results"]) == 16
    lines = markdown(table).splitlines()
    assert len(lines) == 2 + 8 and lines[0] == "| arm | start | seed 3 | seed 4 |"
    assert "| `cog` | closed | 6/100 [0.01, 0.30] | 7/100 [0.01, 0.30] |" in lines
    draw(table, tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_a_quick_demo_is_refused(runs):
    summary = read_json(runs[0] / "summary.json", "a summary")
    write_json(runs[0] / "summary.json", {**summary, "quick": True})
    with pytest.raises(CogError, match="quick demo"):
        gather(runs)


def set_config(run, **config):
    """Let a demo have been run with other settings."""
    summary = read_json(run / "summary.json", "a summary")
    write_json(run / "summary.json", {**summary, "config": config})


def test_demos_of_one_seed_of_other_settings_and_none_are_refused(runs):
    set_config(runs[0], seed=4, updates=7000, out="a", workers=1)
    set_config(runs[1], seed=4, updates=7000, out="b", workers=2)
    with pytest.raises(CogError, match=r"4 has seed 4, as .*3 has"):
        gather(runs)
    set_config(runs[0], seed=3, updates=100, out="a", workers=1)
    with pytest.raises(CogError, match=r"4 has other settings than .*3; differing: updates$"):
        gather(runs)
    with pytest.raises(UsageError, match="name at least one"):
        gather([])


def test_the_command_names_the_settings_that_are_not_the_standard_ones(runs):
    for run, seed in zip(runs, (3, 4), strict=True):
        set_config(run, seed=seed, updates=7000, out=str(run), workers=2)
    assert gather(runs)["command"] == "cog demo --seed SEED --out runs/seedSEED"
    for run, seed in zip(runs, (3, 4), strict=True):
        set_config(run, seed=seed, updates=100, out=str(run), workers=2)
    assert gather(runs)["command"] == "cog demo --seed SEED --out runs/seedSEED --updates 100"
