"""The training loop: batches in, updates, metrics and checkpoints out; stops and resumes at any update."""

import contextlib
import ctypes
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cog.algorithms.base import Agent
from cog.algorithms.bc import BC
from cog.algorithms.cql import CQL
from cog.core.configs import from_json, to_json
from cog.core.files import make_folder
from cog.core.inputs import Input
from cog.core.lock import content, locked
from cog.core.parallel import RankLost, anywhere, rank, refuse_uneven, together
from cog.core.sealed import read_sealed, write_sealed
from cog.core.stopping import stop_signals
from cog.datasets.environment import scene_facts
from cog.errors import CogError, UsageError
from cog.replay.buffer import Buffer, Transitions
from cog.training import checkpoint
from cog.training.config import TrainConfig
from cog.training.execution import executed, refuse_graph, set_arithmetic
from cog.training.guard import refuse_bad_parameters, refuse_difference, refuse_divergence, to_host
from cog.training.metrics import MetricsWriter, before_update, refuse_without_wandb

CONFIG = "config.json"
RUN = "run"  # the kind of file that it is
DAMAGED = "delete it, then continue with --resume; the checkpoints hold the settings as well"

Progress = Callable[[int, int, Mapping[str, float]], None]


class Interrupted(CogError):  # noqa: N818 - it is no failure
    """A signal asked the run to stop; its state was saved at `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"interrupted; everything is saved at {folder}; continue with --resume")
        self.folder = folder


def train(
    config: TrainConfig,
    transitions: Transitions | None = None,
    resume: bool = False,
    on_progress: Progress | None = None,
    on_message: Callable[[str], None] | None = None,
    on_checkpoint: Callable[[int, Path], None] | None = None,
) -> Path:
    """Run `config` to its last update and return the last checkpoint.

    The ranks of a run (see `cog.core.parallel.joined`) all call this alike; only rank 0 calls the callbacks.

    Args:
        config: what to learn and where to write.
        transitions: the data, if they are in memory already; otherwise `config.data` is loaded.
        resume: continue the run in `config.out` from its last checkpoint (or from the start, if none yet).
        on_progress: called with (update, total, metrics) at every logged update.
        on_message: called with sentences worth showing, such as the memory the frames take.
        on_checkpoint: called with (update, folder) after each checkpoint.

    Raises:
        CogError: `out` holds another run, the data cannot be used, a loss is not finite or Q runs away.
        Interrupted: SIGINT or SIGTERM came to any rank; the state was saved first.
        RankLost: another rank has died; the last checkpoint is as it was.
        FailedElsewhere: on ranks above 0, any of these that ends them all.
    """
    with contextlib.ExitStack() as held:
        try:
            with together():
                refuse_uneven(config.batch_size)
                if rank() == 0:
                    claim(config, resume)
                    held.enter_context(locked(config.out))
            said = on_message if rank() == 0 else None
            buffer, facts = prepare(config, transitions, said)
            begun = begin(config, buffer, facts, resume)
            with stop_signals() as stopped:
                turns = updates(config, begun, stopped, said, on_progress, on_checkpoint)
                with contextlib.closing(turns):
                    for _ in turns:
                        pass
        except RankLost as error:
            raise RankLost(f"{error}. {_kept(config.out)}") from error
        return checkpoint.find(config.out)


class Facts(NamedTuple):
    """What a run tells of its data in everything it writes."""

    fingerprint: str
    inputs: tuple[Input, ...]
    scene: dict[str, Any]


class Begun(NamedTuple):
    """A run in memory, ready for its next update."""

    agent: Agent
    buffer: Buffer
    facts: Facts
    metrics_position: int


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
            config.cql.discount,
            config.cql.steps,
            on_message,
        )
        buffer.refuse_starved(
            config.batch_size,
            "choose a --batch-size of at least {size}, a larger share in the merge, or --sampling uniform",
        )
        refuse_graph(buffer, config)
    # On an accelerator the host's copy of the transitions is not needed any more.
    return buffer, Facts(transitions.fingerprint, inputs, scene)


def begin(config: TrainConfig, buffer: Buffer, facts: Facts, resume: bool) -> Begun:
    """The run of `config`, new or from its last checkpoint, in a folder that is claimed and locked."""
    root = config.out / "checkpoints"
    with together():
        agent = create(config, buffer)
        position = 0
        if resume and checkpoint.exists(root):
            last = checkpoint.load(root)
            checkpoint.restore(last, agent, buffer.drawn, facts.fingerprint)
            position = last.metrics_position
            if agent.updates_done < config.updates and agent.updates_done % config.log_every:
                # It was the last update of a shorter run, or a signal came; only the former was logged.
                position = before_update(config.out, position, agent.updates_done)
        if rank() == 0:
            write_sealed(config.out / CONFIG, RUN, to_json(config))
    with together():
        refuse_difference(agent, facts.fingerprint)
    return Begun(agent, buffer, facts, position)


def updates(
    config: TrainConfig,
    begun: Begun,
    stopped: Callable[[], bool],
    on_message: Callable[[str], None] | None,
    on_progress: Progress | None,
    on_checkpoint: Callable[[int, Path], None] | None,
) -> Generator[None, None, None]:
    """Update to the last update or until `stopped`; metrics and checkpoints are rank 0's to write.

    Yields after each update but the last.
    """
    agent, buffer, facts, position = begun
    root = config.out / "checkpoints"
    writer: MetricsWriter | None = None

    def save() -> None:
        with together():
            refuse_difference(agent, facts.fingerprint)
            refuse_bad_parameters(agent, root)
            if writer is not None:
                where = writer.position()
                folder = checkpoint.save(
                    root, agent, buffer.drawn, facts.fingerprint, where, facts.inputs, facts.scene
                )
                if on_checkpoint is not None:
                    on_checkpoint(agent.updates_done, folder)

    if buffer.device.type == "cuda":
        torch.cuda.synchronize(buffer.device)  # data and weights came by one stream; others read them now
    update_once = executed(agent, buffer, config, on_message)
    with contextlib.ExitStack() as closing:
        with together():
            if rank() == 0:
                writer = MetricsWriter(config.out, position, config.wandb, to_json(config))
                closing.enter_context(writer)
        while agent.updates_done < config.updates:
            metrics = update_once()
            update = agent.updates_done
            if update % config.log_every == 0 or update == config.updates:
                values = to_host(metrics)
                with together():
                    refuse_divergence(config, update, values, root)
                    if writer is not None:
                        values |= {f"share/{name}": share for name, share in buffer.shares().items()}
                        writer.write(update, values)
                        if on_progress is not None:
                            on_progress(update, config.updates, values)
            if anywhere(stopped()):
                save()
                with together():
                    raise Interrupted(checkpoint.find(root))
            if update % config.checkpoint_every == 0 and update < config.updates:
                save()
            if update < config.updates:
                yield
        save()


def _kept(out: Path) -> str:
    """What a run that ended early left to go on from."""
    if not checkpoint.exists(out / "checkpoints"):
        return "No checkpoint was written yet; --resume begins again."
    return f"The last checkpoint is {checkpoint.find(out)}; continue with --resume."


def create(config: TrainConfig, buffer: Buffer) -> Agent:
    """The agent that `config` asks for, its initial weights fixed by `config.seed` alone.

    Raises:
        UsageError: no component of the actions is left that is no switch.
    """
    actions = buffer.actions.shape[1]
    if (switches := config.network.switches) >= actions:
        raise UsageError(
            f"network.switches is {switches}; actions have {actions} components, of which one at least moves"
        )
    with torch.random.fork_rng(devices=[]):  # nn.Module draws from the global generator; give it back after
        torch.default_generator.manual_seed(config.seed)
        agent: Agent
        if config.algorithm == "bc":
            agent = BC(config, buffer.shape, actions)
        else:
            agent = CQL(config, buffer.shape, actions, buffer.return_bounds())
    set_arithmetic(config.precision)
    agent.to(buffer.device)
    agent.standardise(*buffer.pose_statistics())
    return agent


def claim(config: TrainConfig, resume: bool) -> None:
    """Refuse a folder that holds another run, before anything is written or loaded."""
    held = config.out / CONFIG
    if resume and held.exists():
        other = from_json(
            read_sealed(held, RUN, "the configuration of a run", DAMAGED), TrainConfig, where=str(held)
        )
        checkpoint.refuse_other(other, config, config.out)
    if held.exists() and not resume:
        raise CogError(
            f"{config.out} already holds a run; continue it with --resume or choose another folder"
        )
    begun = held.exists() or (resume and checkpoint.exists(config.out / "checkpoints"))
    if not begun and config.out.exists() and content(config.out):
        raise CogError(f"{config.out} is not empty and holds no run of cog; choose another folder")
    make_folder(config.out)


def load_data(data: Path, folder: Path) -> tuple[Transitions, Input, dict[str, Any]]:
    """Read `data`; say what they are, as a file in `folder` names it, and what scene they came from.

    HDF5 is needed only here.
    """
    from cog.datasets.load import load
    from cog.datasets.merge import open_merge

    merge = open_merge(data)
    transitions: Transitions = load(merge)
    return transitions, merge.as_input(folder), scene_facts(merge.sources[0].dataset.environment)


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


def keep_freed_memory() -> None:
    """Ask the C library to keep freed memory for the next update: 10 to 20 % of a CPU update is page faults.

    Otherwise glibc hands the large activations back to the kernel after every update. Elsewhere: no effect.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        trim, pad, most_maps = -1, -2, -4  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX of malloc.h
        for option, value in ((trim, 1 << 30), (pad, 1 << 26), (most_maps, 0)):
            library.mallopt(option, value)
