"""The ranks of one run: processes that share each batch, and together compute what one process would.

Every rank draws the batch and the random numbers of the whole run from the same generator and works on its
own part of them (`joint`, `own`); every loss is a mean over the batch, so the mean of the ranks' gradients is
the gradient of the whole batch (`averaged`). Only rank 0 writes and speaks. A process that is alone is a run
of one rank, for which all of this does nothing.
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
_WORDS = 4000  # bytes of an error that ranks tell each other


class RankLost(CogError):  # noqa: N818 - it is a finding
    """Another rank of this run has gone without a word."""


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Be a rank of the run that `torchrun` has started, if it has; on CUDA, of its own GPU.

    SIGTERM is passed over inside, except where something else handles it, and after an error for good:
    `torchrun` sends it to all ranks as soon as one ends, and rank 0 has yet to say why.

    Raises:
        UsageError: `device` names one GPU for all ranks, or the environment is not that of `torchrun`.
        CogError: the ranks do not find each other, or this one has no GPU.
    """
    if _connected() or os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    if not dist.is_available():
        raise CogError("this PyTorch is built without torch.distributed; start one process, without torchrun")
    cuda = device.startswith("cuda") and torch.cuda.is_available()
    # PyTorch imports this module late, and its functions' default arguments hold the group that is there by
    # then: the group would outlive its destruction, and its threads would abort the interpreter's end.
    importlib.import_module("torch.distributed.nn.functional")
    # NCCL would end the process on a lost rank before it can say so.
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    except ValueError as error:
        raise UsageError(f"WORLD_SIZE is set, but not all else that torchrun sets: {error}") from None
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
        if not isinstance(error, RankLost):  # to leave in good order would be to wait for the lost one
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
    """The shape of all ranks' numbers, where this rank needs `shape` and `dimension` counts the batch."""
    return tuple(length * size() if i == dimension else length for i, length in enumerate(shape))


def own(values: Tensor, dimension: int = 0) -> Tensor:
    """This rank's part of `values`, which every rank has drawn alike for the whole batch."""
    count = size()
    return values if count == 1 else values.chunk(count, dimension)[rank()]


def refuse_uneven(batch_size: int) -> None:
    """Raise UsageError unless the ranks can share a batch evenly."""
    if batch_size % size():
        raise UsageError(
            f"batch_size is {batch_size}, which {size()} processes cannot share evenly; "
            f"it counts the transitions of all of them: choose a multiple of {size()}"
        )


def averaged(gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    """Mean over the ranks of each gradient.

    Done here rather than by PyTorch's DistributedDataParallel, which hooks into `backward()`: a loss here is
    differentiated for one optimiser's parameters only, without it.
    """
    if size() == 1:
        return gradients
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
            # Whoever reads the values waits for kernels, and these for ever if a rank is lost: ask first.
            dist.all_reduce(torch.zeros(1))
        dist.all_gather(parts, values)
    return torch.stack(parts)


def anywhere(asked: bool) -> bool:
    """Whether any rank is asked to stop: all ranks learn it at the same update."""
    return asked if size() == 1 else bool(gathered(torch.tensor([asked])).any())


@contextlib.contextmanager
def together() -> Iterator[None]:
    """A part of the run that all ranks leave together, and that fails on all of them if it does on one.

    Raises:
        CogError: on rank 0, its own error or the first other rank's.
        FailedElsewhere: on the other ranks.
    """
    if size() == 1:
        yield
        return
    mine: CogError | None = None
    try:
        yield
    except RankLost:
        raise
    except CogError as error:
        mine = error
    records = gathered(_record(mine)).tolist()
    failed = [number for number, record in enumerate(records) if record[0]]
    if not failed:
        return
    first = failed[0]
    code = records[first][0]
    text = bytes(records[first][1:]).rstrip(b"\0").decode(errors="ignore")
    if rank() != 0:
        raise FailedElsewhere(text, code) from mine
    if mine is not None:
        raise mine
    raise (UsageError if code == UsageError.exit_code else CogError)(f"rank {first}: {text}")


def _connected() -> bool:
    """Whether this process has joined others."""
    return dist.is_available() and dist.is_initialized()


def _record(error: CogError | None) -> Tensor:
    """What a rank tells the others of its error: exit code (0 for none) and text, (1 + _WORDS,) uint8."""
    code = 0 if error is None else error.exit_code
    text = b"" if error is None else str(error).encode()[:_WORDS]
    return torch.frombuffer(bytearray([code, *text.ljust(_WORDS, b"\0")]), dtype=torch.uint8)


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """Say what a broken connection means."""
    try:
        yield
    except RuntimeError as error:
        why = re.sub(r"^\[\S*\] ", "", str(error)).partition(". ")[0]  # without the place in gloo's source
        raise RankLost(
            f"rank {rank()} of {size()} has lost another: its process was killed, or its machine or network "
            f"failed, or it was silent for {PATIENCE.total_seconds() / 3600:g} h ({why})"
        ) from error


def _take_gpu(device: str) -> None:
    """Make "cuda" mean this rank's own GPU."""
    if device != "cuda":
        raise UsageError(f"device is '{device}', but every process has a GPU of its own; use --device cuda")
    number, present = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= present:
        raise CogError(f"no GPU for process {number + 1} of this machine, which has {present}; start fewer")
    torch.cuda.set_device(number)
