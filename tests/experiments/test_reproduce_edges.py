"""`cog reproduce` with one arm alone, with deleted films, and for a device that is not there."""

from pathlib import Path

import pytest
import torch

from cog.algorithms import algorithm
from cog.datasets.relabel.view import labelled, open_view
from cog.datasets.storage.dataset import open_dataset
from cog.errors import CogError, UsageError
from cog.experiments.paper.arms import ARMS
from cog.experiments.paper.config import ROWS, ReproduceConfig
from cog.experiments.paper.graph import build
from cog.experiments.paper.recipes import RECIPES
from cog.experiments.paper.reproduce import reproduce
from tests.helpers.toy_recipe import TOY, arrived, toy_config


@pytest.mark.parametrize("arm", ARMS)
def test_any_arm_alone_makes_the_views_that_the_results_tell_of(arm: str, tmp_path: Path) -> None:
    seen = "image" if algorithm(ARMS[arm].algorithm).sees_images else "state"
    config = ReproduceConfig(arms=(arm,), observation=seen, out=tmp_path)  # type: ignore[arg-type]
    graph = build([RECIPES[row] for row in ROWS], config)
    made = [job.hash for job in graph.jobs]
    assert len(set(made)) == len(made)
    for sources in graph.sources:
        assert {job.hash for job in (sources.task, *sources.priors, *sources.good)} <= set(made)


def test_an_algorithm_of_states_is_refused_for_images_before_anything_is_collected(tmp_path: Path) -> None:
    config = toy_config(tmp_path / "out", arms=("mopo",), observation="image")
    with pytest.raises(UsageError, match=r"mopo learns from states alone.*--observation state"):
        reproduce(config, [TOY])
    assert not (tmp_path / "out").exists()


def test_labels_of_an_expert_reward_every_step_of_the_episodes_that_succeed(tmp_path: Path) -> None:
    config = toy_config(tmp_path / "out", arms=("cog_expert",))
    reproduce(config, [TOY])
    expert = build([TOY], config).sources[0].expert
    dataset = open_dataset(expert.data.folder)
    episodes = list(labelled(dataset, open_view(dataset, expert.view_name)))
    solved = [bool(arrived(episode).any()) for episode in episodes]
    assert len(episodes) == 6 and any(solved)
    for episode, good in zip(episodes, solved, strict=True):
        assert set(episode.rewards) == {float(good)}
        assert not episode.terminals[:-1].any() and episode.terminals[-1] == episode.terminated


def test_extra_cells_are_left_out_on_request(tmp_path: Path) -> None:
    for extra, starts in ((True, ["left", "middle"]), (False, ["left"])):
        config = toy_config(tmp_path / "out", arms=("cog",), extra_cells=extra)
        assert [entry.cell.start for entry in build([TOY], config).entries] == starts


def test_deleted_films_are_left_out_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy_config(tmp_path / "out", arms=("bc_all",))
    results = reproduce(config, [TOY])
    report = (config.out / "report.html").read_text()
    films = list(config.out.glob("evaluations/*/videos/*"))
    assert films and "data:video/mp4" in report
    for film in films:
        film.unlink()
    assert reproduce(config, [TOY]) == results
    report = (config.out / "report.html").read_text()
    assert "data:video/mp4" not in report and "data:image/png" in report


def test_a_device_that_is_not_there_is_refused_before_anything_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device, error in (("cuda", "finds 0 CUDA devices"), ("banana", "device is 'banana'")):
        with pytest.raises(CogError, match=error):
            reproduce(toy_config(tmp_path / "out", device=device), [TOY])
        assert not (tmp_path / "out").exists()
