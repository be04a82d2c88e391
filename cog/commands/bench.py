"""The command that measures this machine."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from cog.experiments.bench.config import BenchConfig


@dataclass(frozen=True)
class Bench:
    """Measure environment, data, updates and evaluation on this machine, each beside something known."""

    config: Annotated[BenchConfig, tyro.conf.arg(name="")]
    """The benchmark."""

    def run(self) -> None:
        from cog.experiments.bench.bench import bench

        bench(self.config)
