"""Weights from a file into a network: complete, of the right shapes and finite, or refused in one line."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from cog.errors import CogError
from cog.training.tensors import not_finite


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: Path, remedy: str) -> None:
    """Load `tensors`, all that the module has and no other, which come from the file `where`.

    Raises:
        CogError: naming the first tensor that is missing, unknown, of another shape or not finite.
    """
    expected = module.state_dict()
    for name in [*expected, *(name for name in tensors if name not in expected)]:
        wanted, found = expected.get(name), tensors.get(name)
        if wanted is None or found is None:
            rule = f"has {'no' if found is None else 'a'} tensor '{name}', which the settings "
            raise CogError(
                rule + ("ask for" if found is None else "leave no place for"), where=where, remedy=remedy
            )
        if wanted.shape != found.shape:
            rule = f"tensor '{name}' must have shape {tuple(wanted.shape)}, found {tuple(found.shape)}"
            raise CogError(rule, where=where, remedy=remedy)
    if (broken := not_finite(tensors)) is not None:
        raise CogError(f"tensor '{broken}' holds numbers that are not finite", where=where, remedy=remedy)
    module.load_state_dict(dict(tensors))
