"""The kinds of jobs: collect, count, relabel, merge, train, evaluate."""

import dataclasses
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cog.core.configs import identity
from cog.core.console import metrics_note, progress
from cog.core.files import code_version, hash_file, hash_json, read_json, write_json
from cog.core.lock import Locked
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import CollectionSpec
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import count_ending_in, open_view, relabel
from cog.datasets.storage.dataset import open_dataset
from cog.errors import CogError
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.evaluation.result import RESULT, Evaluation, open_evaluation
from cog.experiments.jobs.job import Cost, Help, Job, Stopped, stop_if_asked
from cog.training import checkpoint
from cog.training.config import TrainConfig
from cog.training.guard import Diverged
from cog.training.train import Interrupted, train

NOTHING = "no checkpoint"  # what a run leaves that diverged before its first one
PATIENCE = 60.0  # s that a run waits for another process to let go of its folder
NOTE = ("td_loss", "q_data", "log_likelihood")  # metrics worth a look while it trains


@dataclass(frozen=True)
class Collect(Job):
    """Collect a dataset; its shards are shared out among all workers."""

    root: Path
    spec: CollectionSpec
    at: str | None = None

    kind = "collect"
    alone = True
    needs = ()

    @property
    def name(self) -> str:
        return f"{self.spec.behaviours[0].name}-{'-'.join(self.spec.starts)}-{self.spec.observation}"

    @property
    def folder(self) -> Path:
        """Folder of the dataset."""
        return self.root / (self.at or f"data/{self.place}")

    @property
    def parts(self) -> int:
        return self.spec.shard_count

    def decides(self) -> dict[str, Any]:
        return {"spec": self.spec.to_json(), "code_version": code_version()}

    def cost(self) -> Cost:
        spec = self.spec
        return Cost(f"collect {spec.env} {spec.observation}", spec.episodes * spec.max_episode_steps)

    def work(self, help: Help) -> str | None:
        with progress(self.title, self.spec.episodes, "episode") as advance:

            def on_progress(done: int, total: int, successes: int) -> None:
                advance(done, f"success {successes / max(done, 1):.0%}")
                stop_if_asked()

            crew = None if help.executor is None else (help.executor, help.slots)
            collect(self.spec, self.folder, workers=1, crew=crew, on_progress=on_progress)
        return None

    def content(self) -> str:
        dataset = open_dataset(self.folder)
        for shard in dataset.shards:
            if not (self.folder / shard.file).is_file():
                raise CogError(f"{self.folder / shard.file}: missing")
        return dataset.hash


@dataclass(frozen=True)
class Count(Job):
    """Count the episodes of a dataset that were done well, that is, end in a predicate."""

    root: Path
    data: Collect
    predicate: str

    kind = "count"
    alone = True

    @property
    def name(self) -> str:
        return self.predicate.replace(":", ".")

    @property
    def needs(self) -> Sequence[Job]:
        return (self.data,)

    @property
    def file(self) -> Path:
        """Where the number is."""
        return self.root / "counts" / f"{self.place}.json"

    def decides(self) -> dict[str, Any]:
        return {"predicate": self.predicate}

    def cost(self) -> Cost:
        spec = self.data.spec
        return Cost(f"count {spec.observation}", spec.episodes * spec.max_episode_steps)

    def work(self, help: Help) -> str | None:
        dataset = open_dataset(self.data.folder)
        write_json(self.file, {"good": count_ending_in(dataset, self.predicate)})
        return None

    def content(self) -> str:
        self.number()
        return hash_file(self.file)

    def number(self) -> int:
        """How many they are."""
        return int(read_json(self.file, "a count of episodes")["good"])


@dataclass(frozen=True)
class Relabel(Job):
    """Give a dataset rewards, and keep some or all of its episodes."""

    root: Path
    data: Collect
    rule: str
    scale: float = 1.0
    only: str | None = None
    view: str | None = None
    """Name of the view; none is the job's own."""
    terminate: bool = True
    """Whether the first rewarded step ends its episode."""

    kind = "relabel"
    alone = True

    @property
    def name(self) -> str:
        return "-".join(re.sub(r"\W+", ".", rule).strip(".") for rule in (self.rule, self.only) if rule)

    @property
    def needs(self) -> Sequence[Job]:
        return (self.data,)

    @property
    def source(self) -> str:
        """The view as a merge names it."""
        return f"{self.data.folder}@{self.view_name}"

    @property
    def view_name(self) -> str:
        """Name of the view in its dataset."""
        return self.view or self.place

    def decides(self) -> dict[str, Any]:
        decides = {"rule": self.rule, "scale": self.scale, "only": self.only}
        return decides if self.terminate else {**decides, "terminate": False}

    def cost(self) -> Cost:
        spec = self.data.spec
        return Cost(f"relabel {spec.observation}", spec.episodes * spec.max_episode_steps)

    def work(self, help: Help) -> str | None:
        relabel(
            self.data.folder,
            self.rule,
            self.view_name,
            scale=self.scale,
            terminate=self.terminate,
            only=self.only,
        )
        return None

    def content(self) -> str:
        return open_view(open_dataset(self.data.folder), self.view_name).hash()


@dataclass(frozen=True)
class Merge(Job):
    """Name what one arm learns from."""

    root: Path
    task: Relabel
    priors: tuple[Relabel, ...] = ()
    prior_share: float = 0.0
    """Share of prior data in each batch."""
    task_share: float | None = None
    """Share of task data instead, to the last digit."""
    at: str | None = None

    kind = "merge"
    alone = True

    @property
    def name(self) -> str:
        return "-".join(view.data.spec.starts[0] for view in (self.task, *self.priors))

    @property
    def needs(self) -> Sequence[Job]:
        return (self.task, *self.priors)

    @property
    def file(self) -> Path:
        """The merge file."""
        return self.root / (self.at or f"merges/{self.place}.json")

    def decides(self) -> dict[str, Any]:
        if self.priors and self.task_share is not None:
            return {"task_share": self.task_share}
        return {"prior_share": self.prior_share if self.priors else 0.0}

    def cost(self) -> Cost:
        return Cost("merge", 1)

    def work(self, help: Help) -> str | None:
        priors = [view.source for view in self.priors]
        share = 1.0 - self.prior_share if self.task_share is None else self.task_share
        write_merge(self.file, [self.task.source], priors, share if priors else None)
        return None

    def content(self) -> str:
        open_merge(self.file)
        return hash_file(self.file)


@dataclass(frozen=True)
class Train(Job):
    """Train one arm with one seed; a run that diverges is a result, its last checkpoint what it left."""

    root: Path
    merge: Merge
    settings: TrainConfig
    at: str | None = None

    kind = "train"
    alone = False

    @property
    def name(self) -> str:
        return f"{self.settings.algorithm.name}-{self.merge.name}-seed{self.settings.seed}"

    @property
    def needs(self) -> Sequence[Job]:
        return (self.merge,)

    @cached_property
    def config(self) -> TrainConfig:
        """The run as it is started."""
        return dataclasses.replace(self.settings, data=self.merge.file, out=self.folder)

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.root / (self.at or f"runs/{self.place}")

    @property
    def gpus(self) -> int:
        return int(self.settings.device.startswith("cuda"))

    def decides(self) -> dict[str, Any]:
        # Only what differs from the defaults: a setting that is new in a later version renames no old run.
        chosen = identity(self.settings)
        standard = identity(TrainConfig(data=Path(), out=Path()))
        return {"settings": _different(chosen, standard), "code_version": code_version()}

    def cost(self) -> Cost:
        settings = self.settings
        observation = self.merge.task.data.spec.observation
        kind = f"train {settings.algorithm.name} {observation} {settings.network.encoder} {settings.device}"
        return Cost(kind, settings.updates * settings.batch_size)

    def work(self, help: Help) -> str | None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                train(self.config, resume=True, on_checkpoint=lambda update, folder: help.save())
            except Diverged as error:
                return str(error)
            except Interrupted as error:
                raise Stopped(str(error)) from error
            except Locked:  # a worker that only lost its connection still saves, and then lets go
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)
                stop_if_asked()
                continue
            return None

    def content(self) -> str:
        if not self.has_checkpoint():
            if self.config.out.exists():
                return NOTHING
            raise CogError(f"{self.config.out}: there is no run")
        found = checkpoint.load(self.config.out)
        checkpoint.refuse_other(found.config, self.config, found.folder, found.update)
        return hash_json([found.update, hash_file(found.folder / checkpoint.TENSOR_FILES[0])])

    def has_checkpoint(self) -> bool:
        """Whether the run left a policy."""
        return (self.config.out / "checkpoints" / "latest.json").exists()

    def progress(self) -> tuple[float, str]:
        update, metrics = latest_metrics(self.config.out)
        return update / self.settings.updates, metrics_note(metrics, NOTE)


@dataclass(frozen=True)
class Evaluate(Job):
    """Try a run's last checkpoint on one start."""

    root: Path
    run: Train
    settings: EvaluateConfig
    at: str | None = None

    kind = "evaluate"
    alone = False

    @property
    def name(self) -> str:
        return f"{'-'.join(self.settings.starts)}-{self.run.settings.algorithm.name}"

    @property
    def needs(self) -> Sequence[Job]:
        return (self.run,)

    @cached_property
    def config(self) -> EvaluateConfig:
        """The evaluation as it is started."""
        folder = self.root / (self.at or f"evaluations/{self.place}")
        return dataclasses.replace(self.settings, checkpoint=self.run.config.out, out=folder)

    def decides(self) -> dict[str, Any]:
        chosen = identity(self.settings)
        standard = identity(EvaluateConfig(checkpoint=Path(), out=Path()))
        return {"settings": _different(chosen, standard), "code_version": code_version()}

    def cost(self) -> Cost:
        data, settings = self.run.merge.task.data.spec, self.settings
        steps = settings.max_episode_steps or data.max_episode_steps
        episodes = settings.episodes * len(settings.starts)
        return Cost(f"evaluate {settings.env or data.env} {data.observation}", episodes * steps)

    def work(self, help: Help) -> str | None:
        if not self.run.has_checkpoint():
            return "the run diverged before its first checkpoint; there is no policy to try"
        evaluate(self.config, on_progress=lambda done, note: stop_if_asked())
        return None

    def content(self) -> str:
        if not self.run.has_checkpoint():
            return NOTHING
        open_evaluation(self.config.out)
        return hash_file(self.config.out / RESULT)

    def result(self) -> Evaluation | None:
        """The evaluation; none where there was no policy to try."""
        return open_evaluation(self.config.out) if self.run.has_checkpoint() else None


def _different(chosen: dict[str, Any], standard: dict[str, Any]) -> dict[str, Any]:
    """Those of the chosen values, in groups, that are not the standard ones."""
    found: dict[str, Any] = {}
    for name, value in chosen.items():
        if isinstance(value, dict) and isinstance(standard.get(name), dict):
            value = _different(value, standard[name])
            if value:
                found[name] = value
        elif name not in standard or value != standard[name]:
            found[name] = value
    return found


def latest_metrics(folder: Path) -> tuple[int, dict[str, float]]:
    """The last complete line of a run's metrics and its update; 0 and nothing before the first."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    if not lines:
        return 0, {}
    metrics = json.loads(lines[-1])
    return int(metrics["update"]), metrics
