"""What identifies a run is what decides its result; fields that say where or how it is computed are apart."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cog.classifier.config import ClassifierConfig
from cog.core.configs import APART, apart, identity, to_json
from cog.evaluation.config import EvaluateConfig
from cog.experiments.demo.config import DemoConfig
from cog.experiments.paper.config import ReproduceConfig
from cog.online.config import FinetuneConfig
from cog.training.config import TrainConfig

HERE = Path("here")


@dataclass(frozen=True)
class Inner:
    size: int = 1
    place: str = field(default="a", metadata=APART)


@dataclass(frozen=True)
class Outer:
    out: Path = field(default=HERE, metadata=APART)
    inner: Inner = Inner()
    seeds: tuple[int, ...] = (1, 2)


def test_fields_apart_are_left_out_at_any_depth_and_others_are_as_json_holds_them() -> None:
    assert identity(Outer()) == {"inner": {"size": 1}, "seeds": [1, 2]}
    assert identity(Outer(out=Path("there"), inner=Inner(place="b"))) == identity(Outer())
    assert identity(Outer(seeds=(3,))) != identity(Outer())
    assert to_json(Outer())["inner"] == {"size": 1, "place": "a"} and apart(Outer) == ("out",)


@pytest.mark.parametrize(
    "config, names",
    [
        (TrainConfig(HERE, HERE), {"data", "out", "wandb", "tensorboard", "checkpoint_every", "graphed"}),
        (EvaluateConfig(HERE, HERE), {"checkpoint", "out", "workers"}),
        (
            FinetuneConfig(HERE, HERE, HERE),
            {"checkpoint", "data", "out", "env", "max_episode_steps", "tensorboard"},
        ),
        (ClassifierConfig(HERE), {"out", "negatives"}),
        (DemoConfig(), {"out", "workers", "dask", "dashboard"}),
        (ReproduceConfig(), {"out", "workers", "dask", "dashboard", "mix_code", "plan"}),
    ],
)
def test_what_is_apart_is_what_decides_no_number(config: Any, names: set[str]) -> None:
    assert {item.name for item in dataclasses.fields(config)} - identity(config).keys() == names
