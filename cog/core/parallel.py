"""The ranks of one run: processes that share each batch and together compute what one process would.

Every rank draws the whole batch and all random numbers from the same generator and works on its own part of
them (`joint`, `own`); every loss is a mean over the batch, so the mean of the ranks' gradients is the
gradient of the whole batch (`averaged`). Only rank 0 writes files and prints. A single process is a run of
one rank, for which all of this does nothing.
"""

import contextlib
import datetime
import importlib
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from cog.errors import CogError, FailedElsewhere, UsageError

# The longest wait for a rank that is alive but busy, as rank 0 is while it evaluates. One that dies closes
# its connections, which the others notice at once.
PATIENCE = datetime.timedelta(hours=1)
_ERROR_BYTES = 4000  # longest text of an error that ranks send each other


class RankLost(CogError):  # noqa: N818 - it is a finding
    """Another rank of this run died or stopped answering."""


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the run that `torchrun` has started, if it has; on CUDA, each rank takes its own GPU.

    SIGTERM is ignored inside, unless something else handles it, and stays ignored after an error: `torchrun`
    sends it to all ranks as soon as one ends, before rank 0 has printed why.

    Raises:
        UsageError: `device` names one GPU for all ranks, or the environment is not that of `torchrun`.
        CogError: the ranks do not find each other, or this one has no GPU.
    """
    if _connected() or os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    if not dist.is_available():
        raise CogError(
            "this PyTorch is built without torch.distributed", remedy="start one process, without torchrun"
        )
    cuda = device.startswith("cuda") and torch.cuda.is_available()
    # PyTorch imports this module lazily, and default arguments of its functions capture the process group
    # that exists by then: the group would outlive its destruction, and its threads would abort interpreter
    # shutdown. Imported before there is a group, it captures none.
    importlib.import_module("torch.distributed.nn.functional")
    # By default NCCL aborts the process when a rank is lost, before the error can be printed.
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    except ValueError as error:
        raise UsageError(f"WORLD_SIZE is set, but not everything else that torchrun sets: {error}") from None
    except RuntimeError as error:
        raise CogError(f"the processes of this run did not find each other: {error}") from error
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: None) if main else None
    try:
        if cuda:
            with together():
                _take_gpu(device)
        yield
    except BaseException as error:
        if main:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not isinstance(error, RankLost):  # an orderly shutdown would wait for the lost rank
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()
    if main:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def rank() -> int:
    """The number of this rank, from 0."""
    return dist.get_rank() if _connected() else 0


def size() -> int:
    """How many ranks the run has."""
    return dist.get_world_size() if _connected() else 1


def joint(shape: Sequence[int], dimension: int = 0) -> tuple[int, ...]:
    """Shape of the numbers to draw for all ranks, where one rank needs `shape`, split along `dimension`."""
    return tuple(length * size() if i == dimension else length for i, length in enumerate(shape))


def own(values: Tensor, dimension: int = 0) -> Tensor:
    """This rank's part of `values`, which every rank has drawn identically for the whole batch."""
    count = size()
    return values if count == 1 else values.chunk(count, dimension)[rank()]


def refuse_uneven(batch_size: int) -> None:
    """Raise UsageError unless the ranks can share a batch evenly."""
    if batch_size % size():
        raise UsageError(
            f"batch_size is {batch_size}, which {size()} processes cannot share evenly; it counts the "
            "transitions of all of them",
            remedy=f"choose a multiple of {size()}",
        )


def averaged(gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    """Mean over the ranks of each gradient.

    Not PyTorch's DistributedDataParallel, which hooks into `backward()`: here each loss is differentiated
    with `torch.autograd.grad`, for the parameters of one optimiser.
    """
    if size() == 1:
        return gradients
    # One message for all gradients: the cost of small ones is latency, not bytes.
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    with _listening():
        dist.all_reduce(flat)
    flat /= size()
    parts = flat.split([gradient.numel() for gradient in gradients])
    return [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)]


def gathered(values: Tensor) -> Tensor:
    """The `values` of all ranks, stacked in their order: (ranks, *shape)."""
    if size() == 1:
        return values[None]
    parts = [torch.empty_like(values) for _ in range(size())]
    with _listening():
        if values.is_cuda:
            # On CUDA a lost rank shows only as a kernel that never ends, and reading the values waits for it.
            # A reduction on the CPU first raises an error instead.
            dist.all_reduce(torch.zeros(1))
        dist.all_gather(parts, values)
    return torch.stack(parts)


def anywhere(asked: bool) -> bool:
    """Whether any rank is asked to stop: all ranks learn of it at the same update."""
    return asked if size() == 1 else bool(gathered(torch.tensor([asked])).any())


@contextlib.contextmanager
def together() -> Iterator[None]:
    """A part of the run that all ranks leave together, and that fails on all of them if it fails on one.

    Raises:
        CogError: on rank 0, its own error or the first other rank's.
        FailedElsewhere: on the other ranks.
    """
    if size() == 1:
        yield
        return
    own_error: CogError | None = None
    try:
        yield
    except RankLost:
        raise
    except CogError as error:
        own_error = error
    records = gathered(_record(own_error)).tolist()
    failed = [number for number, record in enumerate(records) if record[0]]
    if not failed:
        return
    first = failed[0]
    code = records[first][0]
    text = bytes(records[first][1:]).rstrip(b"\0").decode(errors="ignore")
    if rank() != 0:
        raise FailedElsewhere(text, code) from own_error
    if own_error is not None:
        raise own_error
    raise (UsageError if code == UsageError.exit_code else CogError)(text, where=f"rank {first}")


def _connected() -> bool:
    """Whether this process has joined a group."""
    return dist.is_available() and dist.is_initialized()


def _record(error: CogError | None) -> Tensor:
    """A rank's error as bytes: exit code (0 for none) and text, (1 + _ERROR_BYTES,) uint8."""
    code = 0 if error is None else error.exit_code
    text = b"" if error is None else str(error).encode()[:_ERROR_BYTES]
    return torch.frombuffer(bytearray([code, *text.ljust(_ERROR_BYTES, b"\0")]), dtype=torch.uint8)


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """Turn a broken connection into an error that says what it means."""
    try:
        yield
    except RuntimeError as error:
        why = re.sub(r"^\[\S*\] ", "", str(error)).partition(". ")[0]  # without the position in gloo's source
        raise RankLost(
            f"rank {rank()} of {size()} has lost another: its process was killed, or its machine or network "
            f"failed, or it was silent for {PATIENCE.total_seconds() / 3600:g} h ({why})"
        ) from error


def _take_gpu(device: str) -> None:
    """Make "cuda" mean this rank's own GPU."""
    if device != "cuda":
        raise UsageError(
            f"device is '{device}', but every process has a GPU of its own", remedy="use --device cuda"
        )
    number, present = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= present:
        raise CogError(
            f"no GPU for process {number + 1} of this machine, which has {present}", remedy="start fewer"
        )
    torch.cuda.set_device(number)
