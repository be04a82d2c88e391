"""The pages of metrics have every name that a run logs, and no other."""

import json
import re
from pathlib import Path

import pytest

from cog import cli
from tests.docs.commands import algorithms
from tests.docs.pages import DOCS

PAGES = "\n".join(page.read_text() for page in sorted((DOCS / "reference").glob("metrics*.md")))
SMALL = "--updates 2 --batch-size 4 --network.critic-widths 8 --network.actor-widths 8 --network.bottleneck 4"
EVERY = {"update", "share/task:data"}


def section(title: str) -> dict[str, str]:
    """Each name in the tables of a section, and when it is logged."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGES, flags=re.M | re.S)
    assert found, f"there is no section {title!r}"
    rows = re.findall(r"^\| (`.+?`) \| .+ \| (.+) \|$", found[1], flags=re.M)
    return {name: when for names, when in rows for name in re.findall(r"`(.+?)`", names)}


def lines(file: Path) -> list[dict[str, float]]:
    """The lines of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def run(folder: Path, command: str) -> None:
    """Run a command of `cog` in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.run(command.split()) == 0, command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a rewarded dataset of states."""
    made = tmp_path_factory.mktemp("metrics")
    run(made, "collect --out data --episodes 2 --observation state --workers 1")
    run(made, "relabel data --rule grasp_success --name success")
    return made


@pytest.mark.parametrize("algorithm", algorithms())
def test_a_run_logs_the_names_of_its_section(folder: Path, algorithm: str) -> None:
    wanted = section(algorithm)
    out = folder / algorithm
    run(folder, f"train --data data@success --out {out} --algorithm {algorithm} {SMALL}")
    always = {name for name, when in wanted.items() if when.startswith("always")}
    assert set(lines(out / "metrics.jsonl")[-1]) == always | EVERY


@pytest.mark.parametrize("algorithm", algorithms())
def test_a_run_with_every_option_logs_the_rest(folder: Path, algorithm: str) -> None:
    wanted = section(algorithm)
    flags = dict.fromkeys(re.findall(r"`(--[\w.-]+)`", " ".join(wanted.values())))
    out = folder / f"{algorithm}_more"
    more = " ".join(f"{flag} 1" for flag in flags)
    run(folder, f"train --data data@success --out {out} --algorithm {algorithm} {SMALL} --log-every 1 {more}")
    logged = {name for line in lines(out / "metrics.jsonl") for name in line}
    assert logged == set(wanted) | EVERY


@pytest.mark.parametrize(
    ("algorithm", "kinds"),
    [("cql", ("every algorithm", "with critics", "with bootstraps")), ("bc", ("every algorithm",))],
)
def test_a_line_with_meters_has_the_names_of_their_section(
    folder: Path, algorithm: str, kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cog.training.meters.behaviour.UPDATES", 2)
    out = folder / f"{algorithm}_metered"
    run(folder, f"train --data data@success --out {out} --algorithm {algorithm} {SMALL} --meter-every 1")
    wanted = {name for name, when in section("Meters").items() if when.startswith(kinds)}
    assert {name for name in lines(out / "metrics.jsonl")[-1] if name.startswith("meter/")} == wanted


def test_every_algorithm_has_a_section_and_every_section_is_of_one() -> None:
    titles = re.findall(r"^## (.+)$", PAGES, flags=re.M)
    assert set(titles) - {"Every run", "Meters", "Fine-tuning"} == set(algorithms())
    assert {name.partition("/")[0] for name in section("Every run")} == {"update", "share"}


def test_fine_tuning_logs_the_names_of_its_section(folder: Path) -> None:
    run(folder, f"train --data data@success --out weak {SMALL}")
    small = "--episodes 2 --round-episodes 2 --updates-per-episode 1 --evaluate-every 2 --evaluate-episodes 1"
    given = "--checkpoint weak --data data@success --start open --max-episode-steps 3"
    run(folder, f"finetune {given} --out online {small}")
    always = {name for name, when in section("cql").items() if when.startswith("always")}
    rounds, curve = lines(folder / "online/metrics.jsonl"), lines(folder / "online/curve.jsonl")
    assert set(rounds[-1]) == always | EVERY | {"share/online", "episodes", "steps"}
    assert set(curve[-1]) == {name for name, when in section("Fine-tuning").items() if when == "always"}
    assert set(lines(folder / "online/timings.jsonl")[-1]) == {"update", "seconds", "clock"}
