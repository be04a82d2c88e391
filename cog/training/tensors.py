"""Tensors of a checkpoint: all of them finite, and just those that its settings ask for."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from cog.algorithms import algorithm
from cog.algorithms.shared.base import Algorithm
from cog.core.files import read_remedy
from cog.errors import CogError
from cog.networks.encoder import ObservationShape
from cog.training.config import TrainConfig

MODEL, OPTIMIZER = TENSOR_FILES = ("model.safetensors", "optimizer.safetensors")
POLICY = "average."  # begins the names of the tensors that act
APART = ("generator", "drawn")
"""What the second file holds besides the moments of optimisers."""


def refuse_unusable(
    folder: Path, config: TrainConfig, shape: ObservationShape, actions: int, remedy: str
) -> None:
    """Refuse a checkpoint unless all its tensors are finite and its policy fits its settings.

    What else it holds is compared where it is used or verified (`refuse_unfit`): a robot needs no optimisers.

    Raises:
        CogError: naming the first tensor that is not finite, is missing, is unknown or has another shape.
    """
    found = _shapes(folder / MODEL, remedy)
    _shapes(folder / OPTIMIZER, remedy)
    kind, network = algorithm(config.algorithm.name), config.network
    with torch.random.fork_rng(devices=[]):
        parts: dict[str, nn.Module] = {POLICY: kind.build_policy(shape, actions, network, config.algorithm)}
        if kind.choosing_critics is not None:
            parts[f"{kind.choosing_critics}."] = kind.build_critics(shape, actions, network)
    for prefix, part in parts.items():
        held = {name: size for name, size in found.items() if name.startswith(prefix)}
        _refuse_differences({f"{prefix}{name}": one for name, one in _sizes(part)}, held, folder, remedy)


def refuse_unfit(folder: Path, agent: Algorithm[Any], remedy: str) -> None:
    """Refuse the two files of a checkpoint unless they hold the state of such an agent.

    Raises:
        CogError: naming the first tensor that is missing, is unknown or has another shape.
    """
    _refuse_differences(dict(_sizes(agent)), _shapes(folder / MODEL, remedy), folder, remedy)
    moments = _shapes(folder / OPTIMIZER, remedy)
    for name, size in moments.items():
        parameter = None if name in APART else _parameter(agent, name)
        if name not in APART and (parameter is None or size not in ((), parameter)):
            raise CogError(
                f"belongs to no parameter of its settings: it holds {_shape(size)}",
                where=f"{folder / OPTIMIZER}: tensor '{name}'",
                remedy=remedy,
            )
    if missing := [name for name in APART if name not in moments]:
        raise CogError("is missing", where=f"{folder / OPTIMIZER}: tensor '{missing[0]}'", remedy=remedy)


def _sizes(module: nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    return ((name, tuple(tensor.shape)) for name, tensor in module.state_dict().items())


def _refuse_differences(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], folder: Path, remedy: str
) -> None:
    for name in (*wanted, *found):
        if wanted.get(name) != found.get(name):
            there, here = _shape(wanted.get(name)), _shape(found.get(name))
            raise CogError(
                f"the checkpoint's settings ask for {there}, and it holds {here}",
                where=f"{folder / MODEL}: tensor '{name}'",
                remedy=remedy,
            )


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor that holds a number that is not finite, if there is one."""
    floats = ((name, value.detach()) for name, value in tensors.items() if value.is_floating_point())
    return next((name for name, value in floats if not bool(value.isfinite().all())), None)


def blank(config: TrainConfig, shape: ObservationShape, actions: int) -> Algorithm[Any]:
    """An agent of these settings with fresh weights; nothing is drawn from the global generator."""
    kind = algorithm(config.algorithm.name)
    with torch.random.fork_rng(devices=[]):
        return kind(dataclasses.replace(config, device="cpu", graphed=False), shape, actions)


def _shapes(file: Path, remedy: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a file, each read once.

    Raises:
        CogError: one is not finite, or the file cannot be read.
    """
    shapes = {}
    for name, tensor in _read(file, remedy):
        if not_finite({name: tensor}) is not None:
            raise CogError(
                "holds a number that is not finite", where=f"{file}: tensor '{name}'", remedy=remedy
            )
        shapes[name] = tuple(tensor.shape)
    return shapes


def _read(file: Path, remedy: str) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                yield name, tensors.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise CogError(f"cannot be read ({error})", where=file, remedy=read_remedy(error, remedy)) from error


def _parameter(agent: Algorithm[Any], name: str) -> tuple[int, ...] | None:
    """Shape of the parameter that a moment, OPTIMISER.NUMBER.KIND, belongs to; None if there is none."""
    optimiser, number, _ = (*name.split("."), "", "")[:3]
    if optimiser not in agent.optimizers:
        return None
    parameters = agent.optimizers[optimiser].param_groups[0]["params"]
    known = number.isdecimal() and number.isascii() and int(number) < len(parameters)
    return tuple(parameters[int(number)].shape) if known else None


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else f"the shape {shape}"
