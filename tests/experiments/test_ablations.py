"""Ablations change one thing about a row's data, share what they have in common, and are drawn."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cog.datasets.collection.spec import CollectionSpec
from cog.experiments.paper.ablations import VARY, variants
from cog.experiments.paper.config import ReproduceConfig
from cog.experiments.paper.graph import build
from cog.experiments.paper.recipes import RECIPES
from cog.experiments.paper.reproduce import reproduce
from tests.helpers.toy_recipe import TOY, toy_config

CLOSED = RECIPES["closed"]


def changed(kind: Any) -> dict[str, set[str]]:
    """The fields in which each variant differs from the row."""
    return {
        variant.name: {
            item.name
            for item in dataclasses.fields(CLOSED)
            if getattr(variant, item.name) != getattr(CLOSED, item.name)
        }
        - {"name", "cells"}
        for variant in variants(kind, CLOSED)
    }


TOGETHER = {"cameras": {"task", "priors"}, "hold": {"task", "task_rule"}}
"""Fields that are one thing: all data have the same cameras, and what is held is rewarded."""


@pytest.mark.parametrize("kind", VARY)
def test_every_variant_but_the_row_itself_differs_in_one_thing(kind: str) -> None:
    found = changed(kind)
    assert found.pop("closed: as it is") == set()
    if kind in TOGETHER:
        assert list(found.values()) == [TOGETHER[kind]]
    else:
        assert len(found) >= 2 and all(len(fields) == 1 for fields in found.values())
    for variant in variants(kind, CLOSED):  # type: ignore[arg-type]
        assert [cell.name for cell in variant.cells] == ["closed", "open"], "the paper's columns alone"


def test_two_cameras_see_all_data_and_evaluations_and_a_row_is_seen_by_one() -> None:
    one, two = variants("cameras", CLOSED)
    assert not any("wrist" in spec.env_options for spec in (one.task, *one.priors))
    assert all(spec.env_options == {"wrist": True} for spec in (two.task, *two.priors))
    config = ReproduceConfig(ablation="cameras", seeds=(0,), arms=("cog",))
    graph = build([two], config)
    assert all(entry.evaluation.settings.env_options == ("wrist=true",) for entry in graph.entries)


def test_held_task_data_go_on_for_longer_than_their_rule_asks_and_prior_data_do_not() -> None:
    _, held = variants("hold", CLOSED)
    (choice,) = held.task.behaviours
    assert choice.options["hold"] == 12 and not held.task.terminate_on_success
    assert held.task_rule == "held(grasp_success, 6)" and held.priors == CLOSED.priors
    assert held.task.max_episode_steps == CLOSED.task.max_episode_steps + 12


def weights(spec: CollectionSpec) -> dict[tuple[str, Any], float]:
    return {(choice.name, choice.options.get("suboptimal")): choice.weight for choice in spec.behaviours}


def test_behaviours_are_mixed_and_left_out_as_named() -> None:
    made = {
        variant.name: variant.priors[0]
        for kind in ("prior_success", "behaviours", "amount")
        for variant in variants(kind, CLOSED)
    }
    episodes = CLOSED.priors[0].episodes
    half = weights(made["closed: 0.5 of the behaviours clumsy"])
    assert half[("open_drawer", True)] == half[("open_drawer", False)] == pytest.approx(0.45)
    assert set(weights(made["closed: 0 of the behaviours clumsy"])) == {
        ("open_drawer", False),
        ("wander", None),
    }
    assert set(weights(made["closed: without wander"])) == {("open_drawer", True)}
    assert made["closed: without wander"].episodes == round(0.9 * episodes)
    assert made["closed: without open_drawer"].episodes == round(0.1 * episodes)
    assert made["closed: 0.3 of the prior data"].episodes == round(0.3 * episodes)


def test_variants_share_the_row_itself_with_the_main_table(tmp_path: Path) -> None:
    main = build([CLOSED], ReproduceConfig(rows=("closed",), out=tmp_path))
    config = ReproduceConfig(ablation="prior_share", out=tmp_path)
    graph = build(variants("prior_share", CLOSED), config)
    known = {job.hash for job in main.jobs}
    new = [job for job in graph.jobs if job.hash not in known]
    assert not any(job.kind in ("collect", "relabel", "count") for job in new), "shares need no other data"
    assert sum(job.kind == "train" for job in new) == 4 * 2 * 3


def test_an_ablation_is_run_drawn_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy_config(tmp_path / "out", ablation="prior_success", arms=("bc_all",))
    results = reproduce(config, [TOY])
    assert results is not None
    rows = {entry["row"] for entry in results["results"]}
    assert rows == {variant.name for variant in variants("prior_success", TOY)}
    assert (
        json.loads((config.out / "ablation_prior_success.json").read_text())["results"] == results["results"]
    )
    assert (config.out / "ablation_prior_success.png").read_bytes().startswith(b"\x89PNG")
    assert not (config.out / "results.json").exists()
    filtered = [fact for fact in results["data"] if "only prior" in fact["row"] and fact["role"] == "prior"]
    whole = [fact for fact in results["data"] if "as it is" in fact["row"] and fact["role"] == "prior"]
    assert filtered[0]["steps"] < whole[0]["steps"] and 0 < filtered[0]["good"] == whole[0]["good"] < 6
