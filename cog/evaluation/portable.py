"""A policy in one file that PyTorch alone, or ONNX Runtime, runs; written only if it acts as the original.

OUT            the graph: a prepared observation in, an action in the robot's units out, one at a time
OUT.json       what a robot must know, names and shapes of inputs, the comparison, the hash of OUT; sealed
"""

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cog.core.files import code_version, hash_file, nowhere, write_bytes
from cog.core.lazy import needed
from cog.core.lock import reserved
from cog.core.options import usable_path
from cog.core.sealed import write_sealed
from cog.datasets.robot_interface import KEY
from cog.errors import CogError, UsageError
from cog.evaluation.policy import Policy, chosen
from cog.networks.encoder import channels_first
from cog.networks.history import History
from cog.networks.precision import one_thread
from cog.replay.history import Past

Format = Literal["torch", "onnx"]
Acting = Literal["mode", "sample", "critic"]
Run = Callable[[Sequence[np.ndarray]], np.ndarray]

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}
TOLERANCE = 1e-4
"""Of an action's range: what rounding alone does not reach."""
ALLOWED_APART = 0.01
"""Of the observations: where two candidates are worth the same, rounding decides between them."""
TIMED = 200  # actions


class Comparison(NamedTuple):
    """How an exported policy acts, beside the original, on recorded observations."""

    observations: int
    """Number of them."""
    largest: float
    """Largest difference of an action's component, as a part of its range."""
    apart: int
    """Observations at which a component differs by more than `TOLERANCE`."""
    original_ms: float
    """Median time of an action of the original, one thread (ms)."""
    exported_ms: float
    """The same of the exported one (ms)."""


class Graph(nn.Module):
    """What is exported: image (1, H, W, C) uint8, pose (1, P), and noise (1, D) for draws -> action (1, A).

    Images of several cameras are inputs of their own, by the cameras' names. A history is part of image and
    pose, as `cog.networks.history` has it: the graph itself remembers nothing.

    A choice by the critics is made among the mode and draws that are fixed, the same at every state.
    """

    low: Tensor
    half_range: Tensor
    draws: Tensor

    def __init__(self, policy: Policy, acting: Acting, candidates: int) -> None:
        super().__init__()
        self.network, self.critic = policy.network, policy.critic if acting == "critic" else None
        self.cameras, self.feels = tuple(policy.shape.pictures()), policy.network.uses_proprio
        self.acting = acting
        scale = policy.action_scale
        low, high = ((-1.0,), (1.0,)) if scale is None else (scale.low, scale.high)
        self.register_buffer("low", torch.tensor(low, dtype=torch.float64))
        self.register_buffer("half_range", (torch.tensor(high, dtype=torch.float64) - self.low) / 2)
        self.register_buffer("draws", torch.from_numpy(fixed_draws(candidates, policy.noise_dimensions)))
        further = {"pose": self.feels, "noise": acting == "sample"}
        self.names = (*self.cameras, *(name for name, used in further.items() if used))

    def forward(self, *given: Tensor) -> Tensor:
        inputs = dict(zip(self.names, given, strict=True))
        images = channels_first([inputs[name] for name in self.cameras])
        poses = inputs.get("pose")
        if self.critic is not None:
            actions = chosen(self.network, self.critic, images, poses, self.draws[None])
        elif self.acting == "sample":
            actions = self.network(images, poses).drawn(inputs["noise"][:, None])[:, 0]
        else:
            actions = self.network(images, poses).mode()
        return self.low + (actions.double() + 1) * self.half_range


def fixed_draws(candidates: int, dimensions: int) -> np.ndarray:
    """The draws (K, D) among which an exported policy's critics choose."""
    draws: np.ndarray = torch.randn(
        candidates, dimensions, generator=torch.Generator().manual_seed(0)
    ).numpy()
    return draws


def export_policy(
    policy: Policy,
    out: Path,
    kind: Format,
    images: Mapping[str, np.ndarray] | None,
    poses: np.ndarray,
    acting: Acting = "mode",
    candidates: int = 8,
) -> Comparison:
    """Write the policy to `out` after it was compared with the original on observations of its data.

    Args:
        policy: loaded on the CPU, with critics if they are to choose.
        out: new file; the facts go to the file beside it whose name has .json added.
        kind: for `torch.export.load`, or for ONNX Runtime.
        images: (N, H, W, C) uint8 of each camera by its name, or None if the policy has none.
        poses: (N, P).
        acting: the mode, draws by `noise`, which becomes an input, or the critics' choice.
        candidates: K, the draws among which critics choose.

    Raises:
        UsageError: the name of `out` ends in something else than the format's.
        CogError: one of the files exists, another process writes it, a package is missing, the policy cannot
            be exported, or acts in another way once exported; nothing is written.
    """
    out = usable_path(out)
    facts = out.with_name(f"{out.name}.json")
    if out.suffix != SUFFIXES[kind]:
        raise UsageError(f"the name must end in {SUFFIXES[kind]} for format {kind}", where=out)
    if kind == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            needed(package, "onnx")
    for file in (out, facts):
        if file.exists() or file.is_symlink():
            raise CogError(
                f"exists already{nowhere(file)}", where=file, remedy="choose another name, or delete it first"
            )
    graph = Graph(policy, acting, candidates).eval().requires_grad_(False)
    noise = np.random.default_rng(0).standard_normal((len(poses), policy.noise_dimensions), np.float32)
    held = {"pose": poses.astype(np.float32), "noise": noise}
    held |= images or {}
    inputs = [held[name] for name in graph.names]
    with reserved(out), tempfile.TemporaryDirectory() as folder, one_thread():
        file = Path(folder) / out.name
        try:
            with _quiet():
                _write(graph, [torch.from_numpy(one[:1]) for one in inputs], file, kind)
                exported = _runner(file, kind)
        except MemoryError:
            raise
        except Exception as error:  # PyTorch and ONNX raise many kinds
            first = str(error).strip().splitlines() or [""]
            raise CogError(
                f"this policy cannot be exported as {kind} ({type(error).__name__}: {first[0]})",
                remedy="copy the folder that cog.Policy.export writes instead",
            ) from error
        original = _original(policy, graph)
        comparison = _compare(original, exported, inputs, graph)
        if comparison.apart > ALLOWED_APART * comparison.observations:
            raise CogError(
                f"the exported policy acts otherwise at {comparison.apart} of {comparison.observations} "
                f"observations, by up to {comparison.largest:.2g} of an action's range; nothing was written",
                remedy="export in the other format, or copy the folder that cog.Policy.export writes",
            )
        write_bytes(out, file.read_bytes(), new=True)
        write_sealed(facts, "portable policy", _facts(policy, graph, out, kind, comparison), new=True)
    return comparison


def recorded_observations(
    data: Path, count: int, history: History | None = None
) -> tuple[dict[str, np.ndarray] | None, np.ndarray]:
    """At most `count` observations of the first source of `data`, spread over its first shards.

    Images (N, H, W, C) by camera or None, poses or states (N, P); with a `history`, those of all its frames.

    Raises:
        CogError: the data cannot be read.
    """
    from cog.datasets.merge import open_merge

    source = open_merge(data).sources[0]
    images: list[dict[str, np.ndarray]] = []
    poses, actions, begins, frames = [], [], [], 0
    for episode in source.dataset.episodes():
        pose = episode.state if episode.images is None else episode.proprio
        assert pose is not None
        poses.append(pose)
        actions.append(episode.actions)
        images.append(source.seen(episode))
        begins.append(np.arange(frames, frames + len(episode)))
        frames += len(pose)
        if frames >= 10 * count:
            break
    chosen_frames = np.unique(np.linspace(0, frames - 1, count).astype(int))
    joined = {name: np.concatenate([one[name] for one in images]) for name in images[0]}
    if history is None:
        shown = {name: one[chosen_frames] for name, one in joined.items()}
        return shown or None, np.concatenate(poses)[chosen_frames]
    past, at = Past.of(np.concatenate(begins), frames), torch.from_numpy(chosen_frames)
    vectors, taken = (torch.from_numpy(np.concatenate(one)) for one in (poses, actions))
    stacked = {
        name: past.images(torch.from_numpy(one).__getitem__, at, history).numpy()
        for name, one in joined.items()
    }
    return stacked or None, past.poses(vectors, taken, at, history).numpy()


def _write(graph: Graph, example: list[Tensor], file: Path, kind: Format) -> None:
    if kind == "torch":
        torch.export.save(torch.export.export(graph, tuple(example)), file)
        return
    program = torch.onnx.export(
        graph,
        tuple(example),
        input_names=list(graph.names),
        output_names=["action"],
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(file)


def _runner(file: Path, kind: Format) -> Run:
    """What runs an exported file, loaded anew."""
    if kind == "torch":
        module = torch.export.load(file).module()

        def by_torch(inputs: Sequence[np.ndarray]) -> np.ndarray:
            with torch.no_grad():
                actions: np.ndarray = module(*map(torch.from_numpy, inputs)).numpy()
            return actions

        return by_torch
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def by_onnx(inputs: Sequence[np.ndarray]) -> np.ndarray:
        actions: np.ndarray = session.run(None, dict(zip(names, inputs, strict=True)))[0]
        return actions

    return by_onnx


def _original(policy: Policy, graph: Graph) -> Run:
    """The policy itself, on the same inputs."""

    def act(inputs: Sequence[np.ndarray]) -> np.ndarray:
        given = dict(zip(graph.names, inputs, strict=True))
        images, poses = {name: given[name] for name in graph.cameras} or None, given.get("pose")
        if graph.critic is not None:
            actions = policy.choose(images, poses, graph.draws.numpy()[None])
        else:
            actions = policy.act(images, poses, given.get("noise"))
        return policy.expects.outputs(actions)

    return act


def _compare(original: Run, exported: Run, inputs: Sequence[np.ndarray], graph: Graph) -> Comparison:
    """Act both on each observation."""
    rows = [[one[row : row + 1] for one in inputs] for row in range(len(inputs[0]))]
    width = 2 * graph.half_range.numpy()
    differences = np.array([np.abs(exported(row) - original(row))[0] / width for row in rows])
    largest = differences.max(1)
    return Comparison(
        observations=len(rows),
        largest=float(largest.max()),
        apart=int((~(largest <= TOLERANCE)).sum()),
        original_ms=_milliseconds(original, rows),
        exported_ms=_milliseconds(exported, rows),
    )


def _milliseconds(run: Run, rows: Sequence[Sequence[np.ndarray]]) -> float:
    """Median time of one action, after as many as were compared."""
    times = []
    for number in range(TIMED):
        began = time.perf_counter()
        run(rows[number % len(rows)])
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def _facts(policy: Policy, graph: Graph, out: Path, kind: Format, comparison: Comparison) -> dict[str, Any]:
    """What the file beside the graph says."""
    assert policy.origin is not None
    history = policy.shape.history
    sizes: dict[str, tuple[tuple[int, ...], str]] = {
        **{name: (size, "uint8") for name, size in policy.shape.pictures().items()},
        "pose": ((policy.shape.proprio,), "float32"),
        "noise": ((policy.noise_dimensions,), "float32"),
    }
    inputs = [{"name": name, "shape": [1, *sizes[name][0]], "type": sizes[name][1]} for name in graph.names]
    known = policy.expects.known.to_json() if policy.expects.recorded else None
    units = "the robot's" if policy.action_scale is not None else "[-1, 1]"
    return {
        "code_version": code_version(),
        "file": out.name,
        "hash": hash_file(out),
        "written_as": kind,
        "inputs": inputs,
        "output": {"name": "action", "shape": [1, policy.origin.actions], "type": "float64", "units": units},
        **({} if history is None else {"history": {**history._asdict(), "order": history.order()}}),
        "colour": None if policy.shape.image is None else "rgb",
        "acting": graph.acting,
        **({"candidates": len(graph.draws)} if graph.acting == "critic" else {}),
        "algorithm": policy.origin.algorithm.name,
        "update": policy.update,
        "comparison": {
            name: value for name, value in comparison._asdict().items() if not name.endswith("_ms")
        },
        KEY: known,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of operators that are not used here."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
