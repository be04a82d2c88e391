"""The training loop: updates, metrics and checkpoints; it can stop and resume at any update."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cog.algorithms.shared.base import Algorithm
from cog.core.configs import to_json
from cog.core.lock import locked
from cog.core.parallel import RankLost, anywhere, rank, refuse_uneven, together
from cog.core.sealed import write_sealed
from cog.core.stopping import stop_signals
from cog.datasets.transitions import Transitions
from cog.errors import CogError
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from cog.training.config import TrainConfig
from cog.training.execution import executed
from cog.training.guard import refuse_bad_parameters, refuse_difference, refuse_divergence, to_host
from cog.training.meters.meters import SIZE, Meters
from cog.training.metrics import MetricsWriter, before_update, last_logged
from cog.training.setup import CONFIG, RUN, Facts, claim, create, prepare

Progress = Callable[[int, int, Mapping[str, float]], None]


class Interrupted(CogError):  # noqa: N818 - not a failure
    """A signal asked the run to stop; its state was saved at `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"interrupted; everything is saved at {folder}", remedy="continue with --resume")
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

    All ranks of a run (see `cog.core.parallel.joined`) call this; only rank 0 calls the callbacks.

    Args:
        config: what to learn and where to write.
        transitions: the data, if already in memory; otherwise `config.data` is loaded.
        resume: continue the run in `config.out` from its last checkpoint, or from the start if there is none.
        on_progress: called with (update, total, metrics) at every logged update.
        on_message: called with sentences worth showing, such as the memory the frames take.
        on_checkpoint: called with (update, folder) after each checkpoint.

    Raises:
        CogError: `out` holds another run, the data cannot be used, a loss is not finite or Q diverges.
        Interrupted: any rank received SIGINT or SIGTERM; the state was saved first.
        RankLost: another rank has died; the last checkpoint is as it was.
        FailedElsewhere: on ranks above 0, for any of these errors.
    """
    with contextlib.ExitStack() as stack:
        try:
            with together():
                refuse_uneven(config.batch_size)
                if rank() == 0:
                    claim(config, resume)
                    stack.enter_context(locked(config.out))
                    claim(config, resume)  # another may have begun and ended between the two
            report = on_message if rank() == 0 else None
            buffer, facts = prepare(config, transitions, report)
            begun = begin(config, buffer, facts, resume, report)
            with stop_signals() as stopped:
                turns = updates(config, begun, stopped, report, on_progress, on_checkpoint)
                with contextlib.closing(turns):
                    for _ in turns:
                        pass
        except RankLost as error:
            raise RankLost(f"{error}. {_kept(config.out)}") from error
        return checkpoint.find(config.out)


class Begun(NamedTuple):
    """A run in memory, ready for its next update."""

    agent: Algorithm[Any]
    buffer: Buffer
    facts: Facts
    metrics_position: int


def begin(
    config: TrainConfig,
    buffer: Buffer,
    facts: Facts,
    resume: bool,
    on_message: Callable[[str], None] | None = None,
) -> Begun:
    """Start the run of `config`, or restore its last checkpoint, in a folder that is claimed and locked."""
    root = config.out / "checkpoints"
    with together():
        agent = create(config, buffer)
        position = 0
        folder, remark = checkpoint.resumable(root) if resume else (None, "")
        if folder is not None:
            if remark and on_message is not None:
                on_message(remark)
            last = checkpoint.load(folder)
            checkpoint.restore(last, agent, buffer.drawn, facts.fingerprint)
            position = last.metrics_position
            if agent.updates_done < config.updates and not config.logs(agent.updates_done):
                # The last update of a run is always logged, also off schedule. In a longer run it is not the
                # last one, so its line goes. (After a signal there is no such line.)
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
    """Update until the last update or until `stopped`; rank 0 writes metrics and checkpoints.

    Yields after each update but the last.
    """
    agent, buffer, facts, position = begun
    root = config.out / "checkpoints"
    writer: MetricsWriter | None = None
    meters: Meters | None = None

    def save() -> None:
        with together():
            refuse_difference(agent, facts.fingerprint)
            refuse_bad_parameters(agent, root)
            if writer is not None:
                folder = checkpoint.save(
                    root,
                    agent,
                    buffer.drawn,
                    facts.fingerprint,
                    writer.position(),
                    facts.inputs,
                    facts.scene,
                    facts.rewards,
                )
                if on_checkpoint is not None:
                    on_checkpoint(agent.updates_done, folder)

    if buffer.device.type == "cuda":
        torch.cuda.synchronize(
            buffer.device
        )  # data and weights came through one stream; other streams may read them
    update_once = executed(agent, buffer, config, on_message)
    with contextlib.ExitStack() as closing:
        with together():
            if rank() == 0:
                writer = MetricsWriter(
                    config.out, position, config.wandb, to_json(config), config.tensorboard
                )
                closing.enter_context(writer)
                meters = Meters(config, buffer, last_logged(config.out, SIZE))
        while agent.updates_done < config.updates:
            metrics = update_once()
            update = agent.updates_done
            if config.logs(update) or update == config.updates:
                values = to_host(metrics)
                with together():
                    refuse_divergence(config, update, values, root)
                    if writer is not None:
                        if meters is not None and config.meters(update):
                            measured = meters.read(agent)
                            refuse_divergence(config, update, measured, root)
                            values |= measured
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
    """What a run that ended early can continue from."""
    if not checkpoint.exists(out / "checkpoints"):
        return "No checkpoint was written yet; --resume starts again."
    return f"The last checkpoint is {checkpoint.find(out)}; continue with --resume."
