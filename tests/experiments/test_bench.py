"""The benchmark: its table, its JSON and its counts say the same as independent sums."""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cog import cli
from cog.algorithms.cql import CQL
from cog.errors import UsageError
from cog.experiments.bench import parity
from cog.experiments.bench.bench import measure
from cog.experiments.bench.ceilings import COPY, PRODUCT, Ceiling
from cog.experiments.bench.config import SECTIONS, BenchConfig
from cog.experiments.bench.cost import Cost, cost_of
from cog.experiments.bench.figures import HEADER, Figure, cells, from_json
from cog.experiments.bench.rounds import Rounds, in_turn
from cog.experiments.bench.scaling import BATCHES_UNIT, FRAMES_UNIT, blank, fitting, lines, measure_scaling
from cog.experiments.bench.settings import cases, cost_figures, measure_updates, rate_figures
from cog.experiments.bench.update import SETTINGS, buffer_for, chosen, synthetic, update_config

QUICK = BenchConfig(quick=True, workers=1, threads=1)


def columns(text: str) -> list[list[str]]:
    """The rows of a printed table, cell by cell."""
    rows = [line[1:-1] for line in text.splitlines() if line.startswith(("│", "┃"))]
    return [[cell.strip() for cell in row.replace("┃", "│").split("│")] for row in rows]


def test_the_quick_benchmark_prints_every_section_and_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("COLUMNS", "400")
    out, plot = tmp_path / "bench.json", tmp_path / "scaling.png"
    options = ["bench", "--quick", "--workers", "1", "--threads", "1"]
    assert cli.run([*options, "--out", str(out), "--plot", str(plot)]) == 0
    written = json.loads(out.read_text())
    printed = capsys.readouterr().out
    assert columns(printed) == [list(HEADER), *map(cells, from_json(written["figures"]))]
    assert {entry["section"] for entry in written["figures"]} == set(SECTIONS)
    assert all(np.isfinite(entry["value"]) and entry["value"] > 0 for entry in written["figures"])
    assert "numbers mean nothing" in printed and written["quick"] is True
    assert all(note in printed for note in written["notes"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    for section in ("environment", "collection", "evaluation"):
        beside = [entry for entry in written["figures"] if entry["section"] == section and entry["ratio"]]
        assert beside and all("mesh robot" in entry["beside"] for entry in beside), section


def test_operations_of_a_small_network_equal_their_closed_form() -> None:
    batch, size, channels, filters, kernel, hidden = 3, 8, 3, 5, 3, 7
    conv = torch.nn.Conv2d(channels, filters, kernel, padding=1)
    linear = torch.nn.Linear(filters * size * size, hidden)
    images = torch.rand(batch, channels, size, size)
    parameters = [*conv.parameters(), *linear.parameters()]

    def update() -> None:
        loss = linear(torch.relu(conv(images)).flatten(1)).sum()
        torch.autograd.grad(loss, parameters)

    convolved = 2 * batch * size * size * filters * channels * kernel * kernel
    multiplied = 2 * batch * filters * size * size * hidden
    # Forward once; backward for the weights of both, and for the input of the linear layer alone.
    assert cost_of(update).flops == 2 * convolved + 3 * multiplied


def test_operations_of_an_update_grow_with_n_as_the_critics_heads_do() -> None:
    def count(sampled: int) -> int:
        config = update_config("cpu", 4, sampled, 0)
        buffer = buffer_for(config, synthetic(20, 0))
        return cost_of(SETTINGS["eager"](config, buffer)).flops

    # Of what depends on N only the critics' heads are matrix products: 3 actions more for each step of N,
    # forward, and backward for weights and inputs; actions themselves take no gradient.
    actions, (first, second) = 8, (256, 256)
    head = 2 * (2 * actions * first + 3 * first * second + 3 * second)
    assert count(3) - count(2) == 2 * 4 * 3 * head


def test_bytes_are_those_of_inputs_and_outputs_and_views_are_free() -> None:
    left, right = torch.rand(3, 5), torch.rand(5, 7)
    assert cost_of(lambda: left @ right).bytes == 4 * (3 * 5 + 5 * 7 + 3 * 7)
    assert cost_of(lambda: left.view(5, 3).t().expand(2, 3, 5)) == Cost(0, 0, 0)
    assert cost_of(lambda: left.add_(1)).bytes == 4 * 2 * 15
    table, rows = torch.rand(1000, 4), torch.tensor([2, 3])
    assert cost_of(lambda: table[rows]).bytes == 4 * 2 * 8 + 2 * 8
    assert cost_of(lambda: torch.rand(1, 7).expand(5, 7) + right).bytes == 4 * (7 + 7 + 35 + 35)


def test_ratios_are_of_the_rounds_of_one_run() -> None:
    rounds = Rounds(
        {"naive": [8.0, 6.0, 20.0], "eager": [2.0, 3.0, 4.0], PRODUCT: [1.0, 1.0, 2.0], COPY: [1.0, 3.0, 8.0]}
    )
    (slow, fast) = rate_figures("case", rounds, ["naive", "eager"])
    assert (slow.value, slow.ratio, slow.low, slow.high) == (1 / 8, 1, 1, 1)
    assert (fast.value, fast.ratio, fast.low, fast.high) == (1 / 3, 4, 2, 5)  # 8/2, 6/3, 20/4
    limits = {PRODUCT: Ceiling(list, 100, "GFLOP/s"), COPY: Ceiling(list, 200, "GB/s")}
    operations, moved = cost_figures("case", rounds, "eager", Cost(300, 600, 1), limits)
    # 300 of 100 in 2 s for 1 s, in 3 s for 1 s, in 4 s for 2 s; 600 of 200 in 2 s for 1 s, 3 for 3, 4 for 8
    assert (operations.value, operations.low, operations.ratio, operations.high) == (3e-7, 1, 1.5, 1.5)
    assert (moved.value, moved.low, moved.ratio, moved.high) == (6e-7, 1.5, 3, 6)
    assert (operations.beside, moved.beside) == (PRODUCT, COPY)


def test_actions_take_their_turns_and_are_warmed_up_first() -> None:
    order: list[str] = []
    rounds = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, 1e-9, lambda: None)
    assert order[:12] == ["a"] * 6 + ["b"] * 6 and order[12:] == ["a", "b"] * 3
    assert {name: len(times) for name, times in rounds.seconds.items()} == {"a": 3, "b": 3}


def test_naive_and_eager_learn_from_the_same_buffer_by_different_plans() -> None:
    config = dataclasses.replace(QUICK.sized(), rounds=2)
    turns: list[str] = []
    figures = measure_updates(config, turns.append)
    assert len(turns) == cases(config) == 2 * 4
    units = ["updates/s"] * 2 + ["GFLOP/s", "GB/s"] + ["GFLOP/update", "GB/update"] * 2
    assert [figure.unit for figure in figures] == units
    naive, eager = (figure for figure in figures if figure.unit == "GFLOP/update")
    assert naive.value > 2 * eager.value


def test_scaling_compares_with_the_smallest_and_leaves_out_what_does_not_fit() -> None:
    config = dataclasses.replace(QUICK.sized(), rounds=3, scaling_frames=(50, 200, 10**12))
    assert fitting(config)[0] == [50, 200]
    figures, (left_out,) = measure_scaling(config)
    assert "1000000000000 frames was left out" in left_out
    by_batch, by_frames = lines(figures, BATCHES_UNIT), lines(figures, FRAMES_UNIT)
    assert [[size for size, _ in points] for points in by_batch.values()] == [[4, 8]]
    assert [[size for size, _ in points] for points in by_frames.values()] == [[50, 200]]
    assert all(figure.beside.split()[0] in ("4", "50") for figure in figures)
    for figure in figures:
        assert figure.low is not None and figure.high is not None and figure.ratio is not None
        assert figure.low <= figure.ratio <= figure.high
    made = blank(50, config)
    assert made.frames.shape == (50, 48, 48, 3) and len(made.actions) == len(made.frame_index) == 49


def test_sections_that_are_not_asked_for_are_not_measured() -> None:
    report = measure(dataclasses.replace(QUICK.sized(), only=("device",)))
    assert {figure.section for figure in report.figures} == {"device"} and report.notes == []
    assert report.machine["threads"] == 1


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'warp' is unknown; there are: naive, shared, eager"):
        chosen(("warp",), "cpu")
    with pytest.raises(UsageError, match="episodes is 1"):
        BenchConfig(episodes=1)
    with pytest.raises(UsageError, match="quick sets episodes to 4"):
        BenchConfig(quick=True, episodes=7)
    with pytest.raises(UsageError, match="plot"):
        BenchConfig(only=("load",), plot=Path("x.png"))
    assert cli.run(["bench", "--quick", "--settings", "warp", "--only", "load"]) == 2
    assert cli.run(["bench", "--quick", "--device", "cuda:99", "--only", "load"]) == 1


def test_a_figure_shows_all_it_holds_and_nothing_else() -> None:
    figure = Figure("updates", "case", 3.14159265, "updates/s", 2.0, 1.5, 2.25, "naive")
    assert cells(figure) == ["updates", "case", "3.142", "updates/s", "2", "1.5 to 2.25", "naive"]
    assert cells(Figure("load", "case", 5.0, "MB/s")) == ["load", "case", "5", "MB/s", "", "", ""]
    assert statistics.median(Rounds({"a": [1.0], "b": [3.0]}).ratios("a", "b")) == 3


def test_parity_holds_for_the_split_plan_and_not_for_one_that_computes_something_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(parity, "SETTINGS", {name: parity.SETTINGS[name] for name in ("repeated", "split")})
    out = tmp_path / "parity.json"
    assert cli.run(["bench", "--parity", "--quick", "--out", str(out)]) == 0
    figures = from_json(json.loads(out.read_text())["figures"])
    assert [figure.what.split(", ", 3)[-1] for figure in figures] == [
        f"3 updates, split, {arithmetic}: {name}"
        for arithmetic in ("float64", "float32", "bfloat16")
        for name in ("losses", "values", "weights")
    ]
    right = CQL.critic_loss

    def wrong(*arguments: Any) -> Any:
        loss, metrics = right(*arguments)
        return 1.001 * loss, metrics

    monkeypatch.setattr(CQL, "critic_loss", wrong)
    assert cli.run(["bench", "--parity", "--quick", "--out", str(out)]) == 1
