"""Count what a computation costs: floating-point operations, and bytes that its operations read and write.

Operations are those of matrix products and convolutions, a multiplication and an addition being two, forward
and backward. Bytes are an estimate: the sizes of all tensors that each ATen operation reads and writes, views
and allocations left out, as if nothing stayed in a cache from one operation to the next. So they are what an
unfused plan asks of the memory at most; a rate above the measured copy shows that caches serve part of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

ALLOCATIONS = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
PICKS = ("index", "index_select", "gather")  # they read no more of their first input than they give out


@dataclass(frozen=True)
class Cost:
    """What one call costs."""

    flops: int
    """Floating-point operations of matrix products and convolutions."""
    bytes: int
    """Bytes read and written by all operations, see above."""
    operations: int
    """Number of operations that read or write memory."""


def cost_of(action: Callable[[], object]) -> Cost:
    """Run an action once and count; what runs inside a captured graph or a compiled kernel is not seen."""
    traffic = Traffic()
    counter = FlopCounterMode(display=False)
    with traffic, counter:
        action()
    return Cost(int(counter.get_total_flops()), traffic.bytes, traffic.operations)


class Traffic(TorchDispatchMode):
    """Adds up what every operation within it reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.operations = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._opname not in ALLOCATIONS and not only_looks(func, args, result):
            self.operations += 1
            self.bytes += traffic_of(func, args, kwargs or {}, result)
        return result


def only_looks(func: Any, args: Sequence[Any], result: Any) -> bool:
    """Whether an operation moves nothing: it writes no argument and gives back memory that it was given."""
    if any(declared.alias_info and declared.alias_info.is_write for declared in func._schema.arguments):
        return False
    given = {tensor.untyped_storage().data_ptr() for tensor in tensors(args)}
    return all(output.untyped_storage().data_ptr() in given for output in tensors(result))


def traffic_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> int:
    """Bytes of an operation's inputs, of those it writes once more, and of its new outputs."""
    new = [
        output
        for declared, output in zip(func._schema.returns, _several(result, func), strict=False)
        if declared.alias_info is None
    ]
    written = sum(size_of(tensor) for tensor in tensors(new))
    total = written
    for place, declared in enumerate(func._schema.arguments):
        value = args[place] if place < len(args) else kwargs.get(declared.name)
        size = sum(size_of(tensor) for tensor in tensors(value))
        if place == 0 and func._opname in PICKS:
            size = min(size, written)
        writes = declared.alias_info is not None and declared.alias_info.is_write
        total += 2 * size if writes else size
    return total


def size_of(tensor: Tensor) -> int:
    """Bytes of a tensor; one that repeats itself by a stride of zero takes no more than what it repeats."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    count = 1
    for length, stride in steps:
        count *= length if stride else min(length, 1)
    return count * tensor.element_size()


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in an argument."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors(entry)


def _several(result: Any, func: Any) -> Sequence[Any]:
    """The outputs as a sequence, one for each that the operation declares."""
    return result if len(func._schema.returns) > 1 else (result,)
