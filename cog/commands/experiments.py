"""Commands for the demo, the paper's experiments and the benchmark of this machine."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from cog.experiments.bench.config import BenchConfig
from cog.experiments.demo.config import DemoConfig
from cog.experiments.paper.config import ReproduceConfig


@dataclass(frozen=True)
class Demo:
    """Run the whole chain, from collection to a report.

    Collect, relabel, merge, train four arms, evaluate, report.
    """

    config: Annotated[DemoConfig, tyro.conf.arg(name="")]
    """The demo."""

    def run(self) -> None:
        from cog.experiments.demo.demo import run_demo

        run_demo(self.config)


@dataclass(frozen=True)
class Reproduce:
    """Repeat the paper's experiments.

    Every arm runs on every row; the results are compared with the paper's.
    """

    config: Annotated[ReproduceConfig, tyro.conf.arg(name="")]
    """The experiments."""

    def run(self) -> None:
        from cog.experiments.paper.reproduce import reproduce

        reproduce(self.config)


@dataclass(frozen=True)
class Bench:
    """Measure the speed of environment, data and updates here.

    Each is compared with a reference, in alternation.
    """

    config: Annotated[BenchConfig, tyro.conf.arg(name="")]
    """The benchmark."""

    def run(self) -> None:
        from cog.experiments.bench.bench import bench

        bench(self.config)
