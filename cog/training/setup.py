"""What a run needs before its first update: its folder, its data on the device, and its agent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cog.algorithms import algorithm
from cog.algorithms.base import Algorithm
from cog.core.files import make_folder
from cog.core.inputs import Input
from cog.core.lock import content
from cog.core.parallel import rank, together
from cog.core.sealed import read_sealed
from cog.datasets.environment import scene_facts
from cog.datasets.transitions import Transitions
from cog.errors import CogError, UsageError
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from cog.training.config import TrainConfig, read_config
from cog.training.execution import keep_freed_memory, refuse_graph, set_arithmetic
from cog.training.metrics import refuse_without_wandb

CONFIG = "config.json"
RUN = "run"  # the kind of file that it is
DAMAGED = "delete it, then continue with --resume; the checkpoints hold the settings as well"


class Facts(NamedTuple):
    """What a run tells of its data in everything it writes."""

    fingerprint: str
    inputs: tuple[Input, ...]
    scene: dict[str, Any]


def claim(config: TrainConfig, resume: bool) -> None:
    """Refuse a folder that holds another run, before anything is written or loaded."""
    held = config.out / CONFIG
    if resume and held.exists():
        other = read_config(read_sealed(held, RUN, "the configuration of a run", DAMAGED), where=str(held))
        checkpoint.refuse_other(other, config, config.out)
    if held.exists() and not resume:
        raise CogError(
            f"{config.out} already holds a run; continue it with --resume or choose another folder"
        )
    begun = held.exists() or (resume and checkpoint.exists(config.out / "checkpoints"))
    if not begun and config.out.exists() and content(config.out):
        raise CogError(f"{config.out} is not empty and holds no run of cog; choose another folder")
    make_folder(config.out)


def prepare(
    config: TrainConfig, transitions: Transitions | None, on_message: Callable[[str], None] | None
) -> tuple[Buffer, Facts]:
    """Load the data and put them where the run computes, on every rank alike.

    Raises:
        CogError: this machine lacks what the settings ask for, or batches would leave out a source.
    """
    with together():
        device = usable_device(config)
        if rank() == 0:
            refuse_without_wandb(config.wandb)
        keep_freed_memory()
        if config.threads:
            torch.set_num_threads(config.threads)
        inputs: tuple[Input, ...] = ()
        scene: dict[str, Any] = {}
        if transitions is None:
            transitions, source, scene = load_data(config.data, config.out / "checkpoints" / "step")
            inputs = (source,)
        buffer = Buffer(
            transitions,
            device,
            config.batch_size,
            config.sampling,
            *config.algorithm.returns(),
            on_message,
        )
        buffer.refuse_starved(
            config.batch_size,
            "choose a --batch-size of at least {size}, a larger share in the merge, or --sampling uniform",
        )
        refuse_graph(buffer, config)
    # On an accelerator the host's copy of the transitions is not needed any more.
    return buffer, Facts(transitions.fingerprint, inputs, scene)


def load_data(data: Path, folder: Path) -> tuple[Transitions, Input, dict[str, Any]]:
    """Read `data`; say what they are, as a file in `folder` names it, and what scene they came from.

    HDF5 is needed only here.
    """
    from cog.datasets.load import load
    from cog.datasets.merge import open_merge

    merge = open_merge(data)
    transitions: Transitions = load(merge)
    return transitions, merge.as_input(folder), scene_facts(merge.sources[0].dataset.environment)


def create(config: TrainConfig, buffer: Buffer) -> Algorithm[Any]:
    """The agent that `config` asks for, its initial weights fixed by `config.seed` alone.

    Raises:
        UsageError: the algorithm cannot use these settings or actions.
    """
    actions = buffer.actions.shape[1]
    kind = algorithm(config.algorithm.name)
    kind.check(config, actions)
    with torch.random.fork_rng(devices=[]):  # nn.Module draws from the global generator; give it back after
        torch.default_generator.manual_seed(config.seed)
        agent = kind(config, buffer.shape, actions, buffer.return_bounds())
    set_arithmetic(config.precision)
    agent.to(buffer.device)
    agent.standardise(*buffer.pose_statistics())
    return agent


def usable_device(config: TrainConfig) -> torch.device:
    """The device asked for, if this machine has it.

    Raises:
        UsageError: there is no such kind, or it does not compute with the precision asked for.
        CogError: this machine has none.
    """
    try:
        device = torch.device(config.device)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device is '{config.device}'; it must be cpu, cuda or cuda:NUMBER")
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= found:
            raise CogError(f"device is '{device}', but PyTorch finds {found} CUDA devices; use --device cpu")
        if device.index is not None:
            torch.cuda.set_device(device)  # graphs and streams are made on the current one
    if device.type != "cuda" and config.precision == "tf32":
        raise UsageError(f"precision tf32 needs CUDA; device is '{config.device}'")
    return device
