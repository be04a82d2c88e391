"""Bounds of the settings of training and fine-tuning: what no run can use is refused by name."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cog.core.bounds import refuse_below, refuse_outside
from cog.core.configs import to_json
from cog.errors import UsageError
from cog.evaluation.config import EvaluateConfig
from cog.networks.config import NetworkConfig
from cog.online.config import FinetuneConfig
from cog.training.config import TrainConfig
from tests.helpers.learner_data import config

NUMBERS = [
    *[(name, -1) for name in ("clip_gradient", "conservative_weight", "critic_lr", "actor_lr")],
    *[(name, -1) for name in ("temperature_lr", "bc_updates", "bc_weight", "critic_init", "seed")],
    *[(name, -1) for name in ("bottleneck", "proprio_features", "initial_temperature", "shift", "threads")],
    *[(name, 0) for name in ("runaway_q", "initial_temperature", "updates", "target_rate", "action_limit")],
    *[(name, 1.0) for name in ("discount", "average_decay", "action_limit")],
    ("critic_widths", ()),
    ("critic_widths", (64, 0)),
    ("actor_widths", (0,)),
    ("seed", 2**64),
]
FLOATS = [
    field.name
    for kind in (TrainConfig, *(type(group) for group in (config().network, config().algorithm)))
    for field in dataclasses.fields(kind)
    if field.type in (float, float | None)
]


@pytest.mark.parametrize(("name", "value"), NUMBERS)
def test_a_setting_out_of_its_bounds_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        config(**{name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", FLOATS)
def test_every_setting_must_be_finite(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is {value}"):
        config(**{name: value})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"episodes": 0}, "episodes"),
        ({"evaluate_every": 3}, "evaluate_every"),
        ({"conservative_weight": math.nan}, "conservative_weight"),
        ({"bc_weight": math.inf}, "bc_weight"),
        ({"episodes": 40, "mix": "online"}, "40, fewer than the 50 before the first update"),
    ],
)
def test_fine_tuning_that_cannot_be_run_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        FinetuneConfig(Path("run"), Path("data"), Path("out"), **changes)


WRONG_TYPES = {
    "encoder": (lambda: NetworkConfig(encoder="resnet"), "network.encoder: must be one of patch, "),
    "critics": (lambda: NetworkConfig(critics="2"), "network.critics: '2' is not of type int"),
    "precision": (lambda: config(precision="half"), "precision: must be one of float32, tf32, bfloat16"),
    "updates": (lambda: config(updates="5"), "updates: '5' is not of type int"),
    "flag": (lambda: config(compiled="no"), "compiled: 'no' is not of type bool"),
    "sampling": (lambda: config(sampling=None), "sampling: must be one of "),
    "variant": (lambda: config(variant="eq3"), "cql.variant: must be one of "),
    "mix": (lambda: FinetuneConfig(Path("run"), Path("data"), Path("out"), mix="all"), "mix: must be one of"),
    "acting": (lambda: EvaluateConfig(Path("run"), Path("out"), acting="best"), "acting: must be one of"),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_a_setting_of_another_type_or_an_unknown_word_is_refused_by_name(name: str) -> None:
    make, told = WRONG_TYPES[name]
    with pytest.raises(UsageError) as refused:
        make()
    assert told in str(refused.value)


def test_text_becomes_a_path_and_a_list_a_tuple_and_numbers_stay_what_they_are() -> None:
    made = dataclasses.replace(config(critic_widths=[8, 8], actor_lr=1), data="data/drawer.json")
    assert made.data == Path("data/drawer.json") and made.network.critic_widths == (8, 8)
    assert to_json(made)["algorithm"]["actor_lr"] is made.algorithm.actor_lr == 1


def test_bounds_say_what_is_allowed_and_pass_what_is_not_set() -> None:
    settings = dataclasses.replace(config(), network=NetworkConfig(actor_widths=()))
    assert to_json(settings)["network"]["actor_widths"] == []
    refuse_below(settings, 5, "algorithm.lagrange_gap")
    refuse_outside(settings, "(0, 1]", "algorithm.lagrange_gap", "algorithm.target_rate")
    with pytest.raises(UsageError, match=r"^batch_size is 8; it must be at least 9$"):
        refuse_below(settings, 9, "batch_size")
    with pytest.raises(UsageError, match=r"^updates is 8; it must lie in \[0, 8\)$"):
        refuse_outside(settings, "[0, 8)", "updates")
    with pytest.raises(UsageError, match=r"^out is nan; it must be finite and at least 1$"):
        refuse_below(SimpleNamespace(out=math.nan), 1, "out")
    assert settings.data == Path("data")
