"""The table of methods: what a line says, from numbers written down by hand."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cog.algorithms import ALGORITHMS
from cog.errors import CogError
from cog.evaluation.intervals import wilson
from cog.experiments.paper.recipes import RECIPES
from cog.experiments.tables.methods import PAPERS, SummariseMethods, across, known, measured, summarise


def number(start: str, seed: int, successes: int, **facts: Any) -> dict[str, Any]:
    """One evaluated cell of the arm `iql` in the row `closed`."""
    return {
        "row": "closed",
        "arm": "iql",
        "start": start,
        "seed": seed,
        "last_step": asdict(wilson(successes, 100)),
        "diverged": None,
        **facts,
    }


def result(numbers: list[dict[str, Any]]) -> dict[str, Any]:
    """What results.json holds of these numbers, as far as the table reads it."""
    cells = dict.fromkeys((one["row"], one["arm"], one["start"]) for one in numbers)
    summary = [{"row": row, "arm": arm, "start": start} for row, arm, start in cells]
    config = {"observation": "state", "extra_cells": False}
    return {"kind": "reproduction", "config": config, "summary": summary, "results": numbers}


def test_a_line_pools_the_episodes_and_averages_the_meters_of_the_seeds() -> None:
    facts = {"predicted_return": 3.0, "discounted_return": 2.0, "milliseconds": 10.0}
    meters = {"action_distance": 0.1, "outside_share": 0.2, "q_size": 7.0}
    numbers = [
        number("closed", 0, 60, meters=meters, **facts),
        number("closed", 1, 80, meters=meters | {"outside_share": 0.4}, **(facts | {"milliseconds": 20.0})),
        number("open", 0, 100),
        number("open", 1, 100),
    ]
    line = measured([result(numbers)])[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:3] == ["closed, state", "`iql`", "`iql`"]
    assert cells[3].split() == str(wilson(140, 200)).split()
    assert cells[4] == "60, 80" and cells[5].split() == str(wilson(200, 200)).split()
    assert cells[6:] == ["3 / 2", "0.10", "30%", "7", "15.0"]


def test_rows_side_by_side_hold_success_from_each_row_s_own_start() -> None:
    first = result([number("closed", 0, 60), number("closed", 1, 80), number("open", 0, 99)])
    second = [number("blocked", 0, 10), number("open", 0, 99), number("blocked", 0, 20) | {"arm": "bcq"}]
    lines = across([first, result([one | {"row": "blocked"} for one in second])])
    cells = [[" ".join(cell.split()) for cell in line.strip("|").split("|")] for line in lines]
    closed, blocked, other = (
        " ".join(str(wilson(*one)).split()) for one in ((140, 200), (10, 100), (20, 100))
    )
    assert cells[0] == ["arm", "closed", "blocked"]
    assert cells[2] == ["`iql`", closed, blocked]
    assert cells[3] == ["`bcq`", "", other]


def test_what_was_not_measured_stays_empty_and_runs_that_diverged_are_counted() -> None:
    numbers = [
        number("closed", 0, 0) | {"diverged": "Q is 1e5"},
        number("closed", 1, 10),
        number("open", 0, 5),
    ]
    line = measured([result(numbers)])[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[4] == "0, 10 (1 diverged)" and cells[6:] == [""] * 5


def test_every_algorithm_has_its_paper_and_its_file() -> None:
    assert set(PAPERS) == set(ALGORITHMS)
    assert len(known()) == len(ALGORITHMS) + 2
    assert any("`cog/algorithms/model_based/mopo.py`" in line for line in known())


def test_results_without_the_paper_s_columns_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(result([number("closed", 0, 10)])))
    with pytest.raises(CogError, match="'closed' has not the starts of a row"):
        summarise(SummariseMethods((file,), tmp_path / "page.md"))
    starts = [cell.name for cell in RECIPES["closed"].cells if not cell.extra]
    file.write_text(json.dumps(result([number(start, 0, 10) for start in starts])))
    summarise(SummariseMethods((file,), tmp_path / "page.md"))
    assert "| closed, state | `iql` |" in (tmp_path / "page.md").read_text()
