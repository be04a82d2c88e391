"""`cog study stitching`: what it prints, writes and draws says the same as the tables."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

from cog import cli
from cog.commands.studies import STUDIES
from cog.experiments.studies.config import StitchingConfig
from cog.experiments.studies.stitching import REASONS, by_share, show, solve, to_file, why
from cog.tabular.methods import METHODS


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick run whose data are not the default ones."""
    for package in ("matplotlib", "jinja2"):
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("study") / "stitching"
    options = ["--first", "3", "--second", "1", "--quick", "--out", str(out)]
    assert cli.run(["study", "stitching", *options]) == 0
    return out


def test_the_file_holds_every_method_with_its_probabilities_and_values(written: Path) -> None:
    result = json.loads((written / "stitching.json").read_text())
    assert list(result["methods"]) == sorted(METHODS) and result["config"]["second"] == 1
    assert result["methods"]["cloning"]["reaches"] == pytest.approx({"chain": 0.25, "grid": 0.25})
    assert result["methods"]["bcql"]["reaches"] == pytest.approx({"chain": 1, "grid": 1})
    assert result["methods"]["bcql"]["q"]["chain"][0] == [None, pytest.approx(0.9)]
    assert result["methods"]["bcql"]["sweeps"] == {"chain": 2, "grid": 6}
    assert "3 trajectories lead from A through B to a dead end, 1 from E" in result["headline"]


def test_pictures_are_a_png_and_a_gif_with_a_frame_for_every_sweep(written: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("sweeps.png", "shares.png"):
        assert (written / name).read_bytes().startswith(b"\x89PNG")
    with image.open(written / "sweeps.gif") as moving:
        frames, durations = moving.n_frames, []
        for frame in range(frames):
            moving.seek(frame)
            durations.append(moving.info["duration"])
    assert frames == 7  # none to six sweeps of the grid
    assert durations[-1] == 4 * durations[0] and moving.format == "GIF"


def test_the_report_holds_its_pictures_and_a_command_that_repeats_it(written: Path) -> None:
    page = (written / "stitching.html").read_text()
    kinds = re.findall(r'<img src="data:image/(\w+);base64,', page)
    assert sorted(kinds) == ["gif", "png", "png"] and "http" not in page
    for reason in REASONS.values():
        assert reason.title.replace("'", "&#39;") in page
    (command,) = re.findall(r"<pre>(cog study .*?)</pre>", page)
    asked = cli.parse(shlex.split(command)[1:])
    assert (asked.first, asked.second, asked.discount) == (3, 1, 0.9)


def test_the_table_names_every_method_with_its_probability_and_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    config = StitchingConfig()
    result = to_file(config, solve(config), {})
    show(config, result)
    shown = capsys.readouterr().out
    for name, found in result["methods"].items():
        (line,) = [line for line in shown.splitlines() if found["title"] in line]
        assert line.count("30%") == (3 if name == "cloning" else 0)
        assert found["why"] in line
    assert sum(line.count("100%") == 2 for line in shown.splitlines()) == 7
    assert result["headline"] in shown and str(config.out / "stitching.html") in shown


def test_every_method_is_explained_and_a_reason_follows_what_it_does_on_each_problem() -> None:
    assert list(REASONS) == list(METHODS)
    config = StitchingConfig()
    assert why(config, "bcq", {"chain": 1.0, "grid": 1.0}) == REASONS["bcq"].reaches
    both = why(config, "cql_h", {"chain": 1.0, "grid": 0.0})
    assert both == f"chain: {REASONS['cql_h'].reaches}; grid: {REASONS['cql_h'].misses}"
    assert "30%" in why(config, "cloning", {"chain": 0.3, "grid": 0.3})


def test_reasons_that_can_differ_between_the_problems_do_where_the_gap_at_b_is_smaller() -> None:
    """alpha/2 (1/p - 1/(1-p)) is .67 at p = .25: below the chain's gap of 1, above the grid's discount^2."""
    config = StitchingConfig(first=3, second=1, discount=0.8)
    found = to_file(config, solve(config), {})["methods"]["cql_h"]
    assert found["reaches"] == pytest.approx({"chain": 1, "grid": 0})
    assert found["why"].startswith("chain: ") and "; grid: " in found["why"]


def test_curves_over_shares_turn_where_the_closed_forms_say() -> None:
    shares = by_share(0.9)
    assert shares["cloning"] == pytest.approx(shares["share"])
    for name, turn in (("bcq", 0.2308), ("cql_h", 0.1910)):
        assert shares[name] == [float(share > turn) for share in shares["share"]], name
    turned = zip(shares["share"], shares["cql_eq2_greedy"], strict=True)
    assert [value for share, value in turned if share > 0.5] == pytest.approx([1] * 49)
    assert shares["naive_q_optimistic"] == pytest.approx([0] * len(shares["share"]))


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_the_extra_it_says_so_and_writes_nothing(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else real(name, *rest)
    )
    assert cli.run(["study", "stitching", "--out", str(tmp_path / "out")]) == 1
    assert f"pip install {package}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stitching", "--first", "0"], "first is 0; it must be at least 1"),
        (["stitching", "--discount", "1"], "discount is 1.0; it must lie in (0, 1)"),
        (["stiching"], "there is no study 'stiching'. Did you mean 'stitching'?"),
        ([], "stitching"),
    ],
)
def test_wrong_usage_exits_with_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["study", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_the_list_of_studies_shows_the_first_line_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["study", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, entry in STUDIES.items():
        assert f"{name} {entry.help}" in shown
        assert str(entry.load().__doc__).splitlines()[0] == entry.help
