"""The console shows text as it is."""

import io
import re
import sys

import pytest
from rich.console import Console

from cog import cli
from cog.core.console import console, progress, table


@pytest.mark.parametrize("name", ["exp[lr=3e-4]", "zz[/b]", "a:smile:b"])
def test_paths_that_look_like_markup_are_shown_as_they_are(
    name: str, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).mkdir(parents=True)
    assert cli.run(["verify", str(tmp_path / name)]) == 1
    console().print(table(f"title {name}", [f"head {name}"], [[f"cell {name}"]]))
    with progress(name, 1, "thing") as advance:
        advance(1, f"note {name}")
    shown, told = capsys.readouterr()
    for text in (f"{tmp_path / name}: 1 problem", f"title {name}", f"head {name}", f"cell {name}"):
        assert text in shown
    assert f"{name}: 1/1" in told and f"note {name}" in told


def test_a_progress_bar_on_a_terminal_shows_text_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with progress("train [/b]", 1, "update") as advance:
        advance(1, "note [lr=1]")
    told = capsys.readouterr().err
    assert "train [/b]" in told and "note [lr=1]" in told


ROWS = [["0-w2-of-a-long-name", "task", "stored", "1.000", "8"], ["b", "prior", "none", "0.5", "1234567"]]
HEAD = ["source", "role", "relabel", "share", "steps"]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("width", [1, 5, 8, 12, 20, 40, 200])
def test_a_table_loses_no_cell_at_any_width(width, terminal, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    if terminal:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    console().print(table("", HEAD, ROWS))
    shown: list[list[str]] = []
    for line in re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines():
        if line.startswith(("┡", "┏")):
            shown.append([""] * len(HEAD))
        elif line[:1] in ("│", "┃"):
            cells = [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
            if cells[-1] == "1234567":
                shown.append([""] * len(HEAD))
            shown[-1] = [one + other for one, other in zip(shown[-1], cells, strict=True)]
    assert shown == [HEAD, *ROWS]


def test_names_with_what_they_are_lose_nothing_at_any_width(monkeypatch, capsys) -> None:
    for width in (1, 20, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        assert cli.run(["--help"]) == 0
        shown = "".join(capsys.readouterr().out.split())
        for name, entry in cli.COMMANDS.items():
            assert all(word in shown for word in (name[:6], entry.help.split()[0][:6]))


def test_a_narrow_table_breaks_words_and_cuts_none() -> None:
    narrow = Console(width=30, file=io.StringIO(), record=True)
    narrow.print(table("", ["environment", "success"], [["blocked_by_a_drawer", "interval"], ["b", "0.9"]]))
    columns = [
        "".join(cells).replace(" ", "")
        for cells in zip(
            *(line.split("│")[1:3] for line in narrow.export_text().splitlines() if line.count("│") == 3),
            strict=True,
        )
    ]
    assert columns == ["blocked_by_a_drawerb", "interval0.9"]
