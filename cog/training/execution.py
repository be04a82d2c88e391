"""Execution of an update: eager, compiled, or captured once as a CUDA graph and replayed.

All three run the same lines. Compiled code and graphs are made for the shapes and settings of the first
updates; if these change later, or weights are replaced, they raise an error.
"""

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from cog.algorithms.shared.base import Algorithm, Gradients, Metrics, Phase
from cog.core.parallel import size
from cog.errors import CogError, UsageError
from cog.replay.buffer import Batch, Buffer
from cog.replay.frames import OnHost
from cog.training.config import TrainConfig

EAGER_UPDATES = 3  # before a graph is captured, so that libraries have chosen their algorithms


class Sampler(Protocol):
    """Source of batches: `cog.replay.buffer.Buffer`."""

    def sample(self, generator: torch.Generator) -> Batch:
        """Draw one batch."""


class Compiled:
    """`gradients` through torch.compile, as one graph with static shapes."""

    def __init__(self, gradients: Callable[..., tuple[dict[str, Gradients], Metrics]]) -> None:
        self.function = torch.compile(gradients, fullgraph=True, dynamic=False)
        self.known: set[Phase] = set()

    def __call__(self, batch: Batch, draws: Any, phase: Phase) -> tuple[dict[str, Gradients], Metrics]:
        """Call the function; the first call in each phase compiles it.

        Raises:
            CogError: shapes, types or settings differ from those it was compiled for.
        """
        if phase not in self.known:
            from torch._dynamo import config

            # Every agent compiles the function for itself, so many recompilations are not a mistake.
            with config.patch(trace_autograd_ops=True, recompile_limit=256), _compiling():
                result = self.function(batch, draws, phase)
            self.known.add(phase)
            return result
        try:
            with torch.compiler.set_stance("fail_on_recompile"):
                return self.function(batch, draws, phase)
        except RuntimeError as error:
            if "recompile" not in str(error):
                raise
            raise CogError(
                f"the compiled update is for other inputs than these ({str(error).splitlines()[0]}); shapes, "
                "types and settings must not change",
                remedy="leave out --compiled if they have to",
            ) from error


@contextlib.contextmanager
def _compiling() -> Iterator[None]:
    """Name what kept PyTorch from compiling, such as a full disk of temporary files.

    Raises:
        CogError: it could not compile.
    """
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except (OSError, TorchDynamoException) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, OSError):
            why = f"{cause.strerror or cause}: {cause.filename or tempfile.gettempdir()}"
            remedy = (
                "let TMPDIR name a folder that can be written and has free space, or leave out --compiled"
            )
        else:
            why, remedy = str(error).strip().splitlines()[0], "leave out --compiled"
        raise CogError(f"PyTorch could not compile the update ({why})", remedy=remedy) from error


@dataclass(frozen=True)
class Capture:
    """A captured update."""

    graph: torch.cuda.CUDAGraph
    """What is replayed."""
    metrics: Metrics
    """Where each replay leaves its metrics."""
    reads: tuple[int, ...]
    """Identifies the settings and weights that it reads."""


class Graphed:
    """One update, from drawing the batch to moving the targets, as one CUDA graph.

    Updates of different phases, such as with and without a step of the actor, have graphs of their own. The
    policy average, whose rate the host computes, is updated after each replay.
    """

    def __init__(self, agent: Algorithm[Any], sampler: Sampler) -> None:
        self.agent, self.sampler = agent, sampler
        self.weights = list(agent.parameters())
        self.side = torch.cuda.Stream()
        self.captures: dict[tuple[Phase, ...], Capture] = {}
        self.eager: Counter[tuple[Phase, ...]] = Counter()

    def __call__(self) -> Metrics:
        """One update: eager at first, then captured, then replayed. Returns the graph's own metrics.

        Raises:
            CogError: settings or weights that the graph reads were replaced since it was captured.
        """
        agent = self.agent
        phases = tuple(agent.phases())
        agent.set_rates()
        if self.eager[phases] < EAGER_UPDATES:
            self.eager[phases] += 1
            metrics = self._eagerly()
        else:
            if phases not in self.captures:
                self.captures[phases] = self._capture()
            capture = self.captures[phases]
            if capture.reads != self._reads():
                raise CogError(
                    "weights or settings were replaced after the update was captured as a CUDA graph",
                    remedy="leave out --graphed for a run that replaces them",
                )
            capture.graph.replay()
            metrics = capture.metrics
        agent.updates_done += 1
        agent.average_policy()
        return metrics

    def _eagerly(self) -> Metrics:
        """An update on a side stream, as required before capture."""
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            metrics = self.agent.learn(self.sampler.sample(self.agent.generator))
        torch.cuda.current_stream().wait_stream(self.side)
        return metrics

    def _capture(self) -> Capture:
        """Record one update; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.agent.generator)
        # On its own stream: graphs captured on the same stream share the libraries' workspaces.
        with torch.cuda.graph(graph, stream=self.side):
            metrics = self.agent.learn(self.sampler.sample(self.agent.generator))
        return Capture(graph, metrics, self._reads())

    def _reads(self) -> tuple[int, ...]:
        """Identity of the settings and addresses of the weights."""
        return (id(self.agent.settings), *(weight.data_ptr() for weight in self.weights))


def executed(
    agent: Algorithm[Any],
    sampler: Sampler,
    config: TrainConfig,
    on_message: Callable[[str], None] | None = None,
) -> Callable[[], Metrics]:
    """A function that draws a batch and updates the agent once, executed as `config` says.

    Without a compiler the update is not compiled; `on_message` reports how it is executed.

    Raises:
        UsageError: a graph was requested without CUDA, or for several processes.
        CogError: a graph was requested, but the frames are not on the device.
    """
    how = "as written"
    if config.compiled:
        if (missing := _missing_compiler(config.device)) is None:
            agent.gradients = Compiled(agent.gradients)  # type: ignore[method-assign]
            how = "compiled"
        else:
            how = f"not compiled ({missing})"
    refuse_graph(sampler, config)
    if config.graphed:
        how += ", as one graph"
    if on_message is not None:
        threads = "" if config.device.startswith("cuda") else f", threads: {torch.get_num_threads()}"
        on_message(f"updates on {config.device} in {config.precision}, {how}{threads}")
    return (
        Graphed(agent, sampler) if config.graphed else lambda: agent.update(sampler.sample(agent.generator))
    )


def refuse_graph(sampler: Sampler, config: TrainConfig) -> None:
    """Raise the errors of `executed` if the update cannot be captured as requested."""
    if not config.graphed:
        return
    if not config.device.startswith("cuda"):
        raise UsageError(f"graphed needs CUDA; device is '{config.device}'")
    if size() > 1:
        raise UsageError(
            "graphed is for one process", remedy="leave out --graphed where torchrun starts several"
        )
    if isinstance(sampler, Buffer) and any(isinstance(frames, OnHost) for frames in sampler.frames):
        raise CogError(
            "the frames do not fit into the device's memory, and a graph cannot fetch them from the host's",
            remedy="leave out --graphed",
        )


def set_arithmetic(precision: str) -> None:
    """Turn TF32 in float32 products and convolutions on CUDA on or off, for the whole process.

    By default PyTorch uses it in convolutions only.
    """
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next update; without glibc this does nothing.

    Otherwise glibc returns the large activations to the kernel after every update, and page faults take 10 to
    20 % of an update on the CPU.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        trim, pad, most_maps = -1, -2, -4  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX of malloc.h
        for option, value in ((trim, 1 << 30), (pad, 1 << 26), (most_maps, 0)):
            library.mallopt(option, value)


def _missing_compiler(device: str) -> str | None:
    """What torch.compile needs and this machine lacks, if anything."""
    from torch._dynamo import config

    if not hasattr(config, "trace_autograd_ops"):
        return f"PyTorch {torch.__version__} cannot compile gradients"
    if device.startswith("cuda"):
        from torch.utils._triton import has_triton

        return None if has_triton() else "Triton is not installed"
    compilers = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    found = any(shutil.which(name) for name in compilers)
    return None if found else f"no C++ compiler ({' or '.join(compilers)}) is installed"
