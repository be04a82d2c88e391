"""Setup of a run: its folder, its data on the device and its agent."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from cog.algorithms import algorithm
from cog.algorithms.shared.base import Algorithm
from cog.core.files import make_folder
from cog.core.inputs import Input
from cog.core.lock import content
from cog.core.parallel import rank, together
from cog.core.sealed import read_sealed
from cog.datasets.environment import scene_facts
from cog.datasets.robot_interface import KEY, disagreements
from cog.datasets.transitions import Transitions
from cog.errors import CogError, UsageError
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from cog.training.config import TrainConfig, read_config
from cog.training.device import named_device
from cog.training.encoder_cost import encoder_cost
from cog.training.execution import keep_freed_memory, refuse_graph, set_arithmetic
from cog.training.metrics import refuse_without_packages
from cog.training.switches import check_switches

if TYPE_CHECKING:
    from cog.datasets.merge import Merge

CONFIG = "config.json"
RUN = "run"  # kind of that sealed file
DAMAGED = "delete it, then continue with --resume; the checkpoints hold the settings as well"


class Facts(NamedTuple):
    """Facts about its data that a run records in everything it writes."""

    fingerprint: str
    inputs: tuple[Input, ...]
    scene: dict[str, Any]
    rewards: dict[str, Any]


def claim(config: TrainConfig, resume: bool) -> None:
    """Refuse a folder that holds another run, before anything is written or loaded."""
    file = config.out / CONFIG
    if resume and file.exists():
        other = read_config(read_sealed(file, RUN, "the configuration of a run", DAMAGED), where=str(file))
        checkpoint.refuse_other(other, config, config.out, checkpoint.reached(config.out / "checkpoints"))
    if file.exists() and not resume:
        raise CogError(
            "already holds a run",
            where=config.out,
            remedy="continue it with --resume or choose another folder",
        )
    begun = file.exists() or (resume and checkpoint.exists(config.out / "checkpoints"))
    if not begun and config.out.exists() and content(config.out):
        raise CogError(
            "is not empty and does not hold a run of cog", where=config.out, remedy="choose another folder"
        )
    make_folder(config.out)


def prepare(
    config: TrainConfig, transitions: Transitions | None, on_message: Callable[[str], None] | None
) -> tuple[Buffer, Facts]:
    """Load the data onto the device, in the same way on every rank.

    Raises:
        CogError: this machine lacks what the settings require, or batches would leave out a source.
        UsageError: a component of the actions that should be a switch is none in the data.
    """
    with together():
        device = usable_device(config)
        if rank() == 0:
            refuse_without_packages(config.wandb, config.tensorboard)
        keep_freed_memory()
        first = config.algorithm.preparation()
        if config.updates <= first and on_message is not None:
            on_message(
                f"all {config.updates} updates prepare {config.algorithm.name}, whose policy begins to learn "
                f"after update {first}: it stays as it was made. Train longer, or shorten that part"
            )
        if config.threads:
            torch.set_num_threads(config.threads)
        inputs: tuple[Input, ...] = ()
        scene: dict[str, Any] = {}
        if transitions is None:
            transitions, source, scene, notes = load_data(
                config.data, config.out / "checkpoints" / "step", config.network.cameras
            )
            inputs = (source,)
            if on_message is not None:
                for note in notes:
                    on_message(note)
        buffer = Buffer(
            transitions.seeing(config.network.cameras),
            device,
            config.batch_size,
            config.sampling,
            *config.algorithm.returns(),
            on_message,
            config.network,
        )
        buffer.refuse_starved(
            config.batch_size,
            "choose a --batch-size of at least {size}, a larger share in the merge, or --sampling uniform",
        )
        refuse_graph(buffer, config)
        judge_switches(buffer, config.network.switches, on_message)
        if buffer.shape.image is not None and on_message is not None:
            on_message(str(encoder_cost(buffer.shape, config)))
    # Returning only the fingerprint lets the host's copy of the transitions be freed.
    return buffer, Facts(transitions.fingerprint, inputs, scene, rewards_of(buffer))


def judge_switches(buffer: Buffer, switches: int, on_message: Callable[[str], None] | None) -> None:
    """Look at the last `switches` components of the actions that batches may hold, and report what is odd.

    Raises:
        UsageError: one of them is no switch (see `cog.training.switches`).
    """
    if not switches:
        return
    for note in check_switches(buffer.actions[buffer.drawable()].cpu().numpy(), switches):
        if on_message is not None:
            on_message(note)


def rewards_of(buffer: Buffer) -> dict[str, Any]:
    """What a checkpoint records of its data's rewards."""
    return {"success": buffer.success_reward()}


def load_data(
    data: Path, folder: Path, cameras: Sequence[str] = ()
) -> tuple[Transitions, Input, dict[str, Any], list[str]]:
    """Read `data`; return transitions, the data as an input of a file in `folder`, their scene, and notes.

    Only this needs HDF5, which is why its modules are imported here.
    """
    from cog.datasets.load import load
    from cog.datasets.merge import open_merge

    merge = open_merge(data)
    transitions: Transitions = load(merge)
    notes = disagreements([(source.name, source.interface) for source in merge.sources])
    return transitions, merge.as_input(folder), merge_facts(merge, cameras), notes


def merge_facts(merge: "Merge", cameras: Sequence[str] = ()) -> dict[str, Any]:
    """What a checkpoint records of where its data came from: the scene, and what a robot must know.

    Of `cameras`, if named, and else of all.
    """
    interface, there = merge.interface, merge.sources[0].camera_names
    if cameras and interface.cameras:
        chosen = tuple(interface.cameras[there.index(name)] for name in cameras if name in there)
        interface = dataclasses.replace(interface, cameras=chosen)
    return {**scene_facts(merge.sources[0].dataset.environment), KEY: interface.to_json()}


def create(config: TrainConfig, buffer: Buffer) -> Algorithm[Any]:
    """The agent of `config`; its initial weights depend on `config.seed` alone.

    Raises:
        UsageError: the algorithm does not support these settings or actions.
    """
    actions = buffer.actions.shape[1]
    kind = algorithm(config.algorithm.name)
    kind.check(config, buffer.shape, actions)
    with torch.random.fork_rng(
        devices=[]
    ):  # nn.Module draws from the global generator, which is restored after
        torch.default_generator.manual_seed(config.seed)
        agent = kind(config, buffer.shape, actions, buffer.return_bounds())
    set_arithmetic(config.precision)
    agent.to(buffer.device)
    agent.standardise(*buffer.standardisation())
    return agent


def usable_device(config: TrainConfig) -> torch.device:
    """The device of the settings, if this machine has it.

    Raises:
        UsageError: the device is of an unknown kind or does not support the precision.
        CogError: this machine does not have it.
    """
    device = named_device(config.device)
    if device.type != "cuda" and config.precision == "tf32":
        raise UsageError(f"precision tf32 needs CUDA; device is '{config.device}'")
    return device
