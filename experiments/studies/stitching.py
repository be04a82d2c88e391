"""`cog study stitching`: who reaches C from A on the chain and the grid, how probably, and why.

out/
  stitching.json       every probability and value
  sweeps.png           values on the data's support, flowing back from C sweep by sweep
  sweeps.gif           the same, moving
  shares.png           what the share of the data that turn to C at B changes
  stitching.html       all of it in one file
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cog.core.configs import to_json
from cog.core.console import console, table
from cog.core.files import code_version, write_json
from cog.errors import missing_extra
from cog.experiments.studies.config import StitchingConfig
from cog.experiments.studies.stitching_pictures import draw_animation, draw_shares, draw_sweeps
from cog.experiments.studies.stitching_report import write_report
from cog.tabular import chain, grid
from cog.tabular.methods import METHODS
from cog.tabular.problem import Problem, Steps
from cog.tabular.solution import Solution

FORMAT = 1
RESULT, REPORT = "stitching.json", "stitching.html"
SWEEPS, ANIMATION, SHARES = "sweeps.png", "sweeps.gif", "shares.png"
PARTS = 100
"""Trajectories of the data in which the share of those that go to C is varied."""


class Reason(NamedTuple):
    """What a method is and why it ends where it does."""

    title: str
    """The method in a few words."""
    reaches: str
    """Why it mostly reaches C from A, where it does."""
    misses: str
    """Why it mostly does not, where it does not."""


IMITATES = "at B it does what the data do there, and {share:.0%} of their steps at B lead towards C"
SUPPORT = "the reward of C flows back through B to A, over actions of the data alone"
ALIKE = "all actions of the data are lowered by the same amount, so the best one stays the best"
CANCELS = "for the data's own actions penalty and data term cancel, so the values are those on the support"
WEIGHTS = "it copies the data's actions, weighted by how much better than a high expectile they are"
REASONS: Mapping[str, Reason] = {
    "cloning": Reason("behaviour cloning", IMITATES, IMITATES),
    "sarsa": Reason(
        "values of the data's policy, one greedy step",
        "even under the data's policy the step towards C has the higher value, and one greedy step takes it",
        "one greedy step is not enough here",
    ),
    "bcql": Reason("Q-learning on the data's support (BCQL)", SUPPORT, SUPPORT),
    "naive_q": Reason(
        "Q-learning, unseen actions begin at 0",
        "unseen actions happen to begin below the value that flows back, so none is preferred",
        "unseen actions keep the value they began with and are preferred",
    ),
    "naive_q_optimistic": Reason(
        "Q-learning, unseen actions begin at 1",
        "the value that flows back is above that of unseen actions",
        "unseen actions keep the value 1, which no step of the data corrects, and are preferred",
    ),
    "bcq": Reason(
        "discrete BCQ, threshold 0.3",
        "the step towards C is common enough at B to be allowed, and its value flows back to A",
        "the step towards C is too rare at B to be allowed",
    ),
    "cql_eq1": Reason("CQL eq. 1, penalty on the data's actions", ALIKE, ALIKE),
    "cql_eq2": Reason("CQL eq. 2, penalty on the data's actions", CANCELS, CANCELS),
    "cql_eq2_greedy": Reason(
        "CQL eq. 2, penalty on greedy actions",
        "what the greedy action loses and the others gain is less than the reward of C is worth",
        "the action that greedy ones avoid at B is raised above the lowered step towards C",
    ),
    "cql_h": Reason(
        "CQL(H)",
        "the rarer action at B is lowered most, but the step towards C stays the best",
        "the step towards C is so rare at B that it is lowered below the other",
    ),
    "iql": Reason("IQL, expectile 0.7, temperature 3", WEIGHTS, WEIGHTS + ", which is too little here"),
}
"""Every method of `cog.tabular.methods` in words."""


@dataclass(frozen=True)
class Case:
    """One problem with its data and what every method makes of them."""

    problem: Problem
    steps: Steps
    solutions: Mapping[str, Solution]

    def reaches(self, method: str) -> float:
        """Probability with which the method's policy comes from A to C."""
        return self.problem.reaches(self.solutions[method].policy)


def run_stitching(config: StitchingConfig) -> dict[str, Any]:
    """Solve everything, print the table, write pictures and report, and return what stitching.json holds.

    Raises:
        CogError: matplotlib or jinja2 is missing, or the folder cannot be written.
    """
    for package in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "report")
    cases = solve(config)
    shares = by_share(config.discount)
    result = to_file(config, cases, shares)
    write_json(config.out / RESULT, result)
    dpi = 60 if config.quick else 120
    draw_sweeps(config.out / SWEEPS, [(case.problem, case.steps, history(case)) for case in cases], dpi)
    draw_animation(config.out / ANIMATION, [(case.problem, case.steps, history(case)) for case in cases], dpi)
    draw_shares(config.out / SHARES, shares, {name: reason.title for name, reason in REASONS.items()}, dpi)
    pictures = [config.out / name for name in (SWEEPS, ANIMATION, SHARES)]
    write_report(config.out / REPORT, result, *pictures)
    show(config, result)
    return result


def solve(config: StitchingConfig) -> list[Case]:
    """Chain and grid, solved by every method."""
    cases = []
    for problem, steps in (
        (chain.chain(), chain.data(config.first, config.second)),
        (grid.grid(), grid.data(config.first, config.second)),
    ):
        solutions = {name: method(steps, config.discount) for name, method in METHODS.items()}
        cases.append(Case(problem, steps, solutions))
    return cases


def history(case: Case) -> np.ndarray:
    """Q on the data's support, sweep by sweep (sweeps + 1, S, A)."""
    return case.solutions["bcql"].history


def by_share(discount: float) -> dict[str, list[float]]:
    """Probability of reaching C on the chain for each share of trajectories that go to C, by method."""
    counts = range(1, PARTS)
    problem = chain.chain()
    found: dict[str, list[float]] = {"share": [second / PARTS for second in counts]}
    for name, method in METHODS.items():
        found[name] = [
            problem.reaches(method(chain.data(PARTS - second, second), discount).policy) for second in counts
        ]
    return found


def why(config: StitchingConfig, method: str, reached: Mapping[str, float]) -> str:
    """Why a method reaches C from A or not, in one sentence; `reached` has each problem's probability."""
    share = config.second / (config.first + config.second)
    reason = REASONS[method]
    texts = {
        problem: (reason.reaches if value > 0.5 else reason.misses).format(share=share)
        for problem, value in reached.items()
    }
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{problem}: {text}" for problem, text in texts.items())


def headline(config: StitchingConfig) -> str:
    """What the data are and what follows, in one sentence."""
    return (
        f"{config.first} trajectories lead from A through B to a dead end, {config.second} from E through B "
        "to C, and none from A to C: methods that carry values backwards over the data's actions join the "
        "two at B, while imitation only repeats what was done there."
    )


def to_file(config: StitchingConfig, cases: list[Case], shares: Mapping[str, list[float]]) -> dict[str, Any]:
    """What stitching.json holds; null stands for a pair without a value."""
    methods: dict[str, Any] = {}
    for name in METHODS:
        reached = {case.problem.name: case.reaches(name) for case in cases}
        methods[name] = {
            "title": REASONS[name].title,
            "reaches": reached,
            "why": why(config, name, reached),
            "q": {case.problem.name: without_nan(case.solutions[name].q) for case in cases},
            "sweeps": {case.problem.name: len(case.solutions[name].history) - 1 for case in cases},
        }
    return {
        "format": FORMAT,
        "kind": "stitching",
        "code_version": code_version(),
        "config": to_json(config),
        "headline": headline(config),
        "methods": methods,
        "shares": shares,
    }


def without_nan(q: np.ndarray) -> list[list[float | None]]:
    """A table Q (S, A) as lists, NaN as None."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in q]


def show(config: StitchingConfig, result: Mapping[str, Any]) -> None:
    """Print who reaches C from A and why, and where the pictures are."""
    rows = [
        [found["title"], *(f"{value:.0%}" for value in found["reaches"].values()), found["why"]]
        for found in result["methods"].values()
    ]
    problems = list(next(iter(result["methods"].values()))["reaches"])
    shown = table("From A to C", ["method", *problems, "why"], rows)
    shown.columns[-1].justify = "left"
    screen = console()
    screen.print(shown)
    screen.print(result["headline"])
    screen.print(str(config.out / REPORT))
