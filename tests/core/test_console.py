"""The console shows text as it is."""

import pytest

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
    for text in (f"{tmp_path / name}: 1 problems", f"title {name}", f"head {name}", f"cell {name}"):
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
