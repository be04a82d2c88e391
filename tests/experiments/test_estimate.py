"""The plan's times: sums and makespans against small cases worked by hand, refined by what was measured."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from cog.algorithms import algorithm
from cog.core.files import write_json
from cog.experiments.jobs.estimate import Estimate, in_words, makespan, measured_costs, stages
from cog.experiments.jobs.job import Cost
from cog.experiments.paper.arms import ARMS
from cog.experiments.paper.config import ROWS, ReproduceConfig
from cog.experiments.paper.graph import build
from cog.experiments.paper.recipes import RECIPES


def record(folder: Path, number: int, **changes: Any) -> None:
    value = {"cost": "train cql image patch cpu", "units": 100, "share": 1.0, "cpu_seconds": 50.0, **changes}
    write_json(folder / f"train-{number}.json", value)


def test_the_plan_adds_up(tmp_path: Path) -> None:
    config = ReproduceConfig(out=tmp_path)
    jobs = build([RECIPES[name] for name in ROWS], config).jobs
    estimate = Estimate(tmp_path / "records")
    plan = stages(jobs, estimate, cores=2, workers=4)
    assert sum(stage.jobs for stage in plan) == len(jobs)
    assert sum(stage.cpu_seconds for stage in plan) == pytest.approx(sum(map(estimate.seconds, jobs)))
    shared = [estimate.seconds(job) for job in jobs if not job.alone]
    walls = {stage.kind: stage.wall_seconds for stage in plan}
    assert walls["train"] + walls["evaluate"] == pytest.approx(makespan(shared, 4))
    collected = sum(estimate.seconds(job) for job in jobs if job.kind == "collect")
    assert walls["collect"] == pytest.approx(collected / 2)
    assert not any(stage.finished for stage in plan)


def test_work_is_shared_out_longest_first() -> None:
    assert makespan([3, 3, 2, 2, 2], 2) == 7  # 3 + 2 + 2 beside 3 + 2: longest first is not the best, 6
    assert makespan([5, 1, 1, 1], 2) == 5
    assert makespan([1.5, 2.5], 1) == 4
    assert makespan([], 3) == 0
    for seconds in product([1, 2, 3], repeat=4):
        assert max(*seconds, sum(seconds) / 2) <= makespan(seconds, 2) <= sum(seconds)


def test_what_ran_in_the_folder_replaces_the_constants(tmp_path: Path) -> None:
    cost = Cost("train cql image patch cpu", 10)
    constant = Estimate(tmp_path).unit(cost)
    for number, seconds in enumerate([40.0, 60.0, 500.0]):
        record(tmp_path, number, cpu_seconds=seconds)
    record(tmp_path, 3, units=0)
    (tmp_path / "train-4.json").write_text("cut sh")
    assert measured_costs(tmp_path) == {"train cql image patch cpu": 0.6}
    assert Estimate(tmp_path).unit(cost) == 0.6 != constant
    assert Estimate(tmp_path).unit(Cost("train cql image patch cuda", 10)) == constant


def test_an_algorithm_that_was_never_measured_counts_as_cql_does(tmp_path: Path) -> None:
    estimate = Estimate(tmp_path)
    for how in ("state patch cpu", "image patch cpu", "image paper cpu"):
        assert estimate.unit(Cost(f"train new {how}", 1)) == estimate.unit(Cost(f"train cql {how}", 1))


def test_an_unfinished_job_counts_for_the_part_that_it_did(tmp_path: Path) -> None:
    record(tmp_path, 0, share=0.25, cpu_seconds=10.0)
    assert measured_costs(tmp_path) == {"train cql image patch cpu": 0.4}


def test_every_job_of_every_arm_has_a_cost(tmp_path: Path) -> None:
    for observation in ("image", "state"):
        arms = [
            name
            for name, arm in ARMS.items()
            if observation == "state" or algorithm(arm.algorithm).sees_images
        ]
        config = ReproduceConfig(arms=tuple(arms), observation=observation, out=tmp_path)  # type: ignore[arg-type]
        estimate = Estimate(tmp_path)
        assert all(estimate.seconds(job) > 0 for job in build(list(RECIPES.values()), config).jobs)


def test_durations_are_told_in_words() -> None:
    assert [in_words(seconds) for seconds in (5.4, 90, 3600, 9000)] == ["5 s", "2 min", "1.0 h", "2.5 h"]
