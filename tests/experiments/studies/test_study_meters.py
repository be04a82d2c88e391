"""The picture of a run's meters: what is drawn, what the table says, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cog.errors import CogError
from cog.experiments.studies.config import MetersConfig
from cog.experiments.studies.meters import PANELS, draw_meters, evaluated, returns
from cog.training.meters import behaviour
from cog.training.meters.rollout import HORIZONS
from cog.training.train import train
from tests.helpers.learner_data import config, noise

pytest.importorskip("matplotlib")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of four updates, two of them with meters."""
    monkeypatch.setattr(behaviour, "UPDATES", 2)
    train(config(tmp_path / "run", updates=4, meter_every=2), noise())
    return tmp_path / "run"


def evaluation(run: Path, update: int, returned: list[tuple[float, float]] | None) -> None:
    """An evaluation of a checkpoint with these predicted and discounted returns, or without any."""
    episodes: list[dict[str, Any]] = [{"number": 0, "seed": 1, "start": "open", "success": False}]
    if returned is not None:
        pairs = [{"predicted_return": one, "discounted_return": other} for one, other in returned]
        episodes = [episodes[0] | pair for pair in pairs]
    value = {"format": 1, "kind": "evaluation", "results": [], "pictures": {}, "episodes": episodes}
    folder = run / "evaluations" / f"{update:07d}"
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text(json.dumps(value | {"checkpoint_hash": "x", "update": update}))


def shown(table: object) -> str:
    """A table as text."""
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_a_run_s_meters_are_drawn_and_its_last_values_told(run: Path, tmp_path: Path) -> None:
    evaluation(run, 4, [(7.0, 1.0), (5.0, 0.0)])
    evaluation(run, 2, None)  # of a version that predicted nothing
    text = shown(draw_meters(MetersConfig(run, tmp_path / "meters.png")))
    assert (tmp_path / "meters.png").read_bytes().startswith(b"\x89PNG")
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    for name in (name for name in last if name.startswith("meter/")):
        assert name.removeprefix("meter/").replace("_", " ") in text and f"{last[name]:.3g}" in text
    assert [one.update for one in evaluated(run)] == [4]
    assert returns(evaluated(run)[0]) == (6.0, 0.5)
    assert "predicted return, update 4" in text


def test_a_run_without_critics_has_fewer_panels_and_a_picture_none_the_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behaviour, "UPDATES", 2)
    train(config(tmp_path / "bc", algorithm="bc", updates=2, meter_every=2), noise())
    text = shown(draw_meters(MetersConfig(tmp_path / "bc", tmp_path / "bc.png")))
    assert (tmp_path / "bc.png").exists() and "q policy" not in text


def test_every_horizon_of_a_model_has_a_curve() -> None:
    names = {curve.name for panel in PANELS for curve in panel.curves}
    assert {f"model_error_{horizon}" for horizon in HORIZONS} <= names


def test_a_run_without_meters_and_a_folder_without_a_run_are_refused(tmp_path: Path) -> None:
    train(config(tmp_path / "run", updates=1), noise())
    with pytest.raises(CogError, match=r"has no meters.*--meter-every"):
        draw_meters(MetersConfig(tmp_path / "run", tmp_path / "meters.png"))
    with pytest.raises(CogError, match="holds no metrics"):
        draw_meters(MetersConfig(tmp_path / "nowhere", tmp_path / "meters.png"))
    assert not (tmp_path / "meters.png").exists()
