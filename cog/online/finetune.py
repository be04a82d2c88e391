"""Online fine-tuning: a policy trained offline continues by acting, as in the second half of the COG paper.

In each round, the stochastic policy acts for a few episodes, which are added to the replay, and updates on
mixed batches follow. The same command continues a killed run from the end of its last finished round;
episodes, weights, metrics and curve are then, byte for byte, those of a run without interruption on the same
machine.

out/
  finetune.json              identity of the run
  online/                    the episodes as a dataset, rewards included: merge it as out/online@stored
  checkpoints/               in the ordinary format, so that `cog evaluate --checkpoint out` works
  evaluations/<episodes>/    one folder per evaluation
  metrics.jsonl              one line per round with updates
  curve.jsonl, curve.png     success against environment steps
"""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cog.algorithms import ALGORITHMS, algorithm
from cog.algorithms.shared.base import Algorithm
from cog.core.configs import differences
from cog.core.configs import identity as identity_of
from cog.core.console import metrics_note
from cog.core.files import code_version, hash_file, make_folder, read_json, write_json
from cog.core.inputs import Input
from cog.core.lock import content, locked
from cog.core.options import option_texts
from cog.datasets.environment import act_in, scene_facts
from cog.datasets.episode import Episode
from cog.datasets.robot_interface import KEY
from cog.envs.make import Scene, is_registered
from cog.errors import CogError
from cog.evaluation.check import check_scene, reading
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.evaluation.policy import Policy
from cog.evaluation.result import RESULT, Evaluation, open_evaluation
from cog.online.config import FinetuneConfig
from cog.online.curve import PICTURE, Point, draw_curve, write_curve
from cog.online.explore import Explorer
from cog.online.payment import payment_of
from cog.online.replay import Replay
from cog.replay.buffer import Buffer
from cog.signals.success import FACT as SUCCESS_BY
from cog.training import checkpoint as checkpoints
from cog.training.config import TrainConfig
from cog.training.execution import keep_freed_memory
from cog.training.guard import refuse_bad_parameters, refuse_divergence, to_host
from cog.training.metrics import MetricsWriter, refuse_without_packages
from cog.training.setup import create, judge_switches, rewards_of, usable_device

FORMAT = 1
RECORD = "finetune.json"
ONLINE = "online"
EVALUATIONS = "evaluations"

OnProgress = Callable[[int, int, str], None]
"""Called with online episodes done, their total, and a note on success and losses."""


def finetune(
    config: FinetuneConfig,
    on_progress: OnProgress | None = None,
    on_message: Callable[[str], None] | None = None,
) -> list[Point]:
    """Run `config` to its last round, or continue it, and return the learning curve.

    Raises:
        UsageError: the environment or start does not exist, or the data do not record one.
        CogError: the checkpoint cannot be fine-tuned or was trained on other data, `out` holds something else
            (all found before anything is written), or the run diverges.
    """
    with contextlib.ExitStack() as stack:
        run = _Run(config, on_message, stack)
        note = ""
        writer = MetricsWriter(config.out, run.metrics_position, "disabled", {}, config.tensorboard)
        explorer = Explorer(run.scene, config.start, config.round_episodes, config.seed, run.payment)
        with writer, contextlib.closing(explorer):
            run.save(writer)
            run.evaluate(0)
            for number, numbers in enumerate(config.rounds()):
                run.collect(explorer, number, numbers)
                if values := run.learn(numbers):
                    writer.write(run.agent.updates_done, values)
                    note = metrics_note(values, run.progress)
                run.save(writer)
                if numbers.stop % config.evaluate_every == 0 or numbers.stop == config.episodes:
                    run.evaluate(numbers.stop)
                if on_progress is not None:
                    rate = f"success {run.points[-1].rate.count} after {run.points[-1].episodes}"
                    on_progress(numbers.stop, config.episodes, f"{rate}  {note}")
        try:
            title = f"success from start '{config.start}' while fine-tuning"
            draw_curve(config.out / PICTURE, {config.mix: run.points}, title)
        except CogError as error:  # the numbers are written even without the figure
            if on_message is not None:
                on_message(str(error))
        return run.points


class _Run:
    """The state of a run: agent, replay, stored episodes, curve."""

    def __init__(
        self,
        config: FinetuneConfig,
        on_message: Callable[[str], None] | None,
        stack: contextlib.ExitStack,
    ) -> None:
        """Check everything, lock the folder, restore the state of an interrupted run."""
        from cog.datasets.load import load
        from cog.datasets.merge import open_merge
        from cog.datasets.storage.growing import GrowingDataset

        refuse_without_packages("disabled", config.tensorboard)
        start = checkpoints.load(config.checkpoint)
        kind = algorithm(start.config.algorithm.name)
        if not kind.finetunes:
            able = [name for name in ALGORITHMS if algorithm(name).finetunes]
            raise CogError(
                f"trained with algorithm '{start.config.algorithm.name}', which cannot be fine-tuned online",
                where=start.folder,
                remedy=f"continue a run of: cog train --algorithm {' or '.join(able)}",
            )
        self.progress = kind.progress
        merge = open_merge(config.data)
        facts = {**merge.sources[0].dataset.environment}
        self.config = config
        self.on_message = on_message
        env, options, steps = act_in(
            facts,
            str(config.data),
            config.env,
            max_episode_steps=config.max_episode_steps,
            exists=is_registered,
        )
        image, shown = start.shape.single().image, reading(start.shape, start.scene)
        self.scene = Scene(env, image, steps, tuple(options.items()), reading=shown)
        own = {"id": env, "options": options, "max_episode_steps": steps}
        self.facts = {**scene_facts(own), KEY: start.scene.get(KEY, merge.interface.to_json())}
        starts, actions = (config.start,), start.action_dimensions
        check_scene(self.scene, start.shape, actions, starts, start.scene, on_message=on_message)
        record = _record(config, self.scene, start)
        _refuse_foreign(config.out, record)
        transitions = load(merge)
        self.settings = online_settings(start.config, config)
        torch.set_num_threads(start.config.threads or torch.get_num_threads())
        keep_freed_memory()
        size, returns = start.config.batch_size, start.config.algorithm.returns()
        offline = Buffer(
            transitions.seeing(start.config.network.cameras),
            usable_device(start.config),
            size,
            "uniform" if config.mix == "uniform" else start.config.sampling,
            *returns,
            on_message,
            start.config.network,
        )
        judge_switches(offline, start.config.network.switches, on_message)
        self.fingerprint = transitions.fingerprint
        self.payment = payment_of(offline, merge, self.scene)
        if not self.payment.at_success:  # the environment then ends episodes as it ended those of the data
            ends = bool(facts.get("terminate_on_success", True))
            self.scene = dataclasses.replace(self.scene, terminate_on_success=ends)
        self.rewards = rewards_of(offline)
        self.agent = create(start.config, offline)
        checkpoints.restore(start, self.agent, offline.drawn, self.fingerprint)
        self.base = start.update
        self.agent.settings = self.settings
        self.replay = Replay(offline, config.mix, size, returns.steps, start.config.network.cameras)
        self.root = config.out / "checkpoints"
        self.metrics_position = 0
        make_folder(config.out)
        stack.enter_context(locked(config.out))
        _refuse_foreign(config.out, record)  # another may have begun and ended between the two
        folder, remark = checkpoints.resumable(self.root)
        if remark and on_message is not None:
            on_message(remark)
        if folder is not None:
            last = checkpoints.load(folder)
            checkpoints.restore(last, self.agent, self.replay.drawn, self.fingerprint)
            self.metrics_position = last.metrics_position
        facts = {name: value for name, value in facts.items() if name not in ("options", SUCCESS_BY)}
        facts |= self.facts
        self.online = GrowingDataset(
            config.out / ONLINE, record["identity"], facts, _origin(start, merge, config.out / ONLINE)
        )
        self.origin = _origin(start, merge, self.root / "step")
        self.due = 0  # updates due after the rounds so far
        self.points: list[Point] = []
        write_json(config.out / RECORD, record)

    def collect(self, explorer: Explorer, number: int, numbers: range) -> None:
        """Add a round's episodes to the replay: read them if already stored, otherwise act and store them."""
        if number < len(self.online):
            episodes = self.online.read(number)
        elif self.agent.updates_done > self.base + self.due:
            raise CogError(
                "episodes are missing that the checkpoint learnt from",
                where=self.online.folder,
                remedy="start again in another folder",
            )
        else:
            episodes = explorer.roll(acting(self.agent), numbers)
            self.online.append(episodes)
        self.replay.extend(episodes)

    def learn(self, numbers: range) -> dict[str, float]:
        """Make the updates of a round that are not done yet; return the metrics of the last one, if any."""
        self.due += self.config.updates_of(numbers)
        metrics = {}
        while self.agent.updates_done < self.base + self.due:
            metrics = self.agent.update(self.replay.sample(self.agent.generator))
        if not metrics:
            return {}
        values = to_host(metrics)
        refuse_divergence(self.settings, self.agent.updates_done, values, self.root)
        values |= {f"share/{name}": share for name, share in self.replay.shares().items()}
        return {"episodes": numbers.stop, "steps": self.replay.steps, **values}

    def save(self, writer: MetricsWriter) -> None:
        """Write a checkpoint, unless there is one of a later round."""
        if self.agent.updates_done == self.base + self.due:
            refuse_bad_parameters(self.agent, self.root)
            position = writer.position()
            inputs = list(self.origin)
            if self.online.dataset is not None:
                online = self.online.dataset
                inputs.append(Input.of("dataset", online.path, online.hash, self.root / "step"))
            checkpoints.save(
                self.root,
                self.agent,
                self.replay.drawn,
                self.fingerprint,
                position,
                inputs,
                self.facts,
                self.rewards,
            )

    def evaluate(self, episodes: int) -> None:
        """Add a point to the curve: evaluate the averaged policy, or read its finished evaluation."""
        point = self._measured(episodes)
        self.points.append(point)
        write_curve(self.config.out, self.points)

    def _measured(self, episodes: int) -> Point:
        config = self.config
        folder = config.out / EVALUATIONS / f"{episodes:07d}"
        if (folder / RESULT).exists():
            report: Evaluation = open_evaluation(folder)
        else:
            if self.on_message is not None:
                self.on_message(f"evaluating: {config.evaluate_episodes} episodes, after {episodes} online")
            report = evaluate(
                EvaluateConfig(
                    checkpoint=config.out,
                    out=folder,
                    starts=(config.start,),
                    episodes=config.evaluate_episodes,
                    seed=config.seed,
                    acting=config.acting,
                    candidates=config.candidates,
                    env=self.scene.env,
                    env_options=option_texts(dict(self.scene.options)),
                    max_episode_steps=self.scene.max_episode_steps,
                    terminate_on_success=self.scene.terminate_on_success,
                    workers=1,
                    videos=0,
                )
            )
        found = report.result(config.start)
        rate = found.last
        return Point(
            episodes=episodes,
            steps=self.replay.steps,
            updates=self.due,
            successes=rate.successes,
            evaluated=rate.episodes,
            collected=_successes(self.replay.episodes),
            mean_return=None if self.payment.at_success else found.mean_return,
            collected_return=None if self.payment.at_success else _mean_return(self.replay.episodes),
            any_step=found.rate.successes if report.ran_on else None,
        )


def online_settings(trained: TrainConfig, config: FinetuneConfig) -> TrainConfig:
    """The settings of the online phase: those of the checkpoint, but constant step sizes and no warm-up.

    A schedule ended with the offline updates, and imitation alone would undo what was learnt. Updates run
    eagerly, since rounds are too short to be worth compiling.
    """
    given = {"conservative_weight": config.conservative_weight, "bc_weight": config.bc_weight}
    weights = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(
        trained,
        data=config.data,
        out=config.out,
        schedule="constant",
        compiled=False,
        graphed=False,
        algorithm=trained.algorithm.online(weights),
    )


def acting(agent: Algorithm[Any]) -> Policy:
    """A copy of the current policy (not the average), for acting."""
    return Policy(copy.deepcopy(agent.policy()), agent.shape, agent.updates_done)


def _record(config: FinetuneConfig, scene: Scene, start: checkpoints.Checkpoint) -> dict[str, Any]:
    """The record of the run, as JSON."""
    model = start.folder / checkpoints.TENSOR_FILES[0]
    identity = {
        "kind": "finetune",
        "config": identity_of(config),
        "env": scene.env,
        "env_options": dict(scene.options),
        "max_episode_steps": scene.max_episode_steps,
        "checkpoint_hash": hash_file(model),
        "data_fingerprint": start.fingerprint,
        "code_version": code_version(),
    }
    return {
        "format": FORMAT,
        "identity": identity,
        "checkpoint": str(config.checkpoint),
        "checkpoint_update": start.update,
        "data": str(config.data),
    }


def _origin(start: checkpoints.Checkpoint, merge: Any, folder: Path) -> list[Input]:
    """What the run starts from, with paths relative to `folder`."""
    return [Input.of("checkpoint", start.folder, start.hash, folder), merge.as_input(folder)]


def _refuse_foreign(out: Path, record: dict[str, Any]) -> None:
    """Refuse a folder that holds another run or something else."""
    if (out / RECORD).exists():
        existing = read_json(out / RECORD, "the record of a fine-tuning run")
        if differing := differences(existing.get("identity", {}), record["identity"]):
            raise CogError(
                f"already holds another fine-tuning run; differing: {', '.join(differing)}. "
                "Nothing was written",
                where=out,
                remedy="choose another folder",
            )
    elif out.exists() and (not out.is_dir() or content(out)):
        raise CogError(
            "is not empty and does not hold a fine-tuning run", where=out, remedy="choose another folder"
        )


def _mean_return(episodes: Sequence[Episode]) -> float | None:
    """Mean sum of the rewards of episodes, if there are any."""
    sums = [float(np.sum(episode.rewards)) for episode in episodes if episode.rewards is not None]
    return sum(sums) / len(sums) if sums else None


def _successes(episodes: Sequence[Episode]) -> int:
    return sum(episode.success for episode in episodes)
