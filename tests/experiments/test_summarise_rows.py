"""The page of rows: headings from the results, arms of one row from several files, ablations refused."""

from pathlib import Path
from typing import Any

import pytest

from cog.core.files import read_json, write_json
from cog.errors import CogError, UsageError
from cog.experiments.tables.rows import SummariseRows, page, read, summarise, summary

CLOSED = Path(__file__).parents[2] / "docs/results/data/reproduce_closed.json"


def written(path: Path, **changes: Any) -> Path:
    """The committed results of a row with changes."""
    write_json(path, {**read_json(CLOSED, "results"), **changes})
    return path


def test_results_of_a_plain_command_are_headed_by_their_rows(tmp_path: Path) -> None:
    result = read(CLOSED)
    plain = read(written(tmp_path / "plain.json", config={**result["config"], "rows": []}))
    assert page([plain]) == page([result]) and "## closed, from images" in page([plain])


def test_two_files_may_hold_different_arms_of_a_row(tmp_path: Path) -> None:
    result = read(CLOSED)
    files = []
    for arms in (["cog"], ["bc_all"]):
        parts = {
            name: [entry for entry in result[name] if entry["arm"] in arms] for name in ("results", "summary")
        }
        files.append(written(tmp_path / f"{arms[0]}.json", **parts))
    lines = summary([read(file) for file in files])
    assert lines[2:] == [line for line in summary([result]) if "`cog`" in line or "`bc_all`" in line]


def test_an_ablation_and_other_files_are_refused_before_the_page_is_written(tmp_path: Path) -> None:
    result = read(CLOSED)
    variant = [
        {**entry, "row": "closed: as it is"} for entry in result["summary"] if entry["start"] == "closed"
    ]
    missing = [entry for entry in result["summary"] if "shifted" not in entry["start"]]
    for wrong, error in (
        (written(tmp_path / "ablation.json", summary=variant), r"ablation\.json: 'closed: as it is' has not"),
        (written(tmp_path / "part.json", summary=missing), r"part\.json: 'closed' has not the starts"),
        (written(tmp_path / "demo.json", kind="demo summary"), r"demo\.json: holds no results of cog"),
    ):
        with pytest.raises(CogError, match=error):
            summarise(SummariseRows((CLOSED, wrong), tmp_path / "page.md"))
    with pytest.raises(UsageError, match="name at least one file"):
        summarise(SummariseRows((), tmp_path / "page.md"))
    assert not (tmp_path / "page.md").exists()
