"""The console shows text as it is."""

import io

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
