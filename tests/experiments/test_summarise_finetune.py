"""The fine-tuning table: a column a seed, unfinished or unlike runs refused."""

from pathlib import Path

import pytest

from cog.core.files import write_json
from cog.errors import CogError, UsageError
from cog.evaluation.intervals import wilson
from cog.experiments.tables.finetune import curves, gather, markdown
from cog.online.curve import Point, draw_curve, write_curve


def finished(folder: Path, seed: int, last: int = 200, mix: str = "half") -> Path:
    """A run whose curve dips at 100 online episodes."""
    config = {"seed": seed, "episodes": 200, "mix": mix, "start": "closed"}
    write_json(folder / "finetune.json", {"identity": {"config": config}, "checkpoint_update": 1500})
    counts = {0: 40, 50: 38, 100: 31 + seed, 150: 20, 200: 95}
    points = [Point(n, 30 * n, 10 * n, count, 100, n // 2) for n, count in counts.items() if n <= last]
    write_curve(folder, points)
    return folder


def test_the_table_has_one_column_a_seed_and_finds_the_dip(tmp_path):
    table = gather([finished(tmp_path / str(seed), seed) for seed in (3, 4)])
    lines = markdown(table).splitlines()
    assert lines[0] == "| evaluation | seed 3 | seed 4 |"
    low, high = wilson(34, 100).low, wilson(34, 100).high
    assert f"34/100 [{low:.2f}, {high:.2f}]" in lines[3] and "35/100" in lines[3]
    assert "95/100 [0.89, 0.98]" in lines[4]
    assert table["command"].endswith("--seed SEED --episodes 200")
    draw_curve(tmp_path / "curve.png", curves(table), "title")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_unfinished_and_unlike_runs_are_refused(tmp_path):
    whole = finished(tmp_path / "0", 0)
    with pytest.raises(CogError, match="not finished"):
        gather([whole, finished(tmp_path / "1", 1, last=150)])
    with pytest.raises(CogError, match="differing: mix"):
        gather([whole, finished(tmp_path / "2", 2, mix="online")])


def test_two_runs_of_one_seed_and_none_are_refused(tmp_path):
    with pytest.raises(CogError, match=r"b has seed 0, as .*a has"):
        gather([finished(tmp_path / "a", 0), finished(tmp_path / "b", 0)])
    with pytest.raises(UsageError, match="name at least one"):
        gather([])
