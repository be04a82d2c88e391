"""Commands of the whole chain: the demo and the paper's experiments."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from cog.experiments.demo.config import DemoConfig
from cog.experiments.paper.config import ReproduceConfig


@dataclass(frozen=True)
class Demo:
    """Run the whole chain: collect, relabel, merge, train four arms, evaluate, report."""

    config: Annotated[DemoConfig, tyro.conf.arg(name="")]
    """The demo."""

    def run(self) -> None:
        from cog.experiments.demo.demo import run_demo

        run_demo(self.config)


@dataclass(frozen=True)
class Reproduce:
    """Repeat the paper's experiments, every arm on every row, and set the results beside its own."""

    config: Annotated[ReproduceConfig, tyro.conf.arg(name="")]
    """The experiments."""

    def run(self) -> None:
        from cog.experiments.paper.reproduce import reproduce

        reproduce(self.config)
