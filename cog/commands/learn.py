"""Commands for learning: train, evaluate, fine-tune online."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from cog.algorithms import ALGORITHMS, algorithm
from cog.core.console import console, messages, metrics_note, progress
from cog.errors import UsageError
from cog.evaluation.config import EvaluateConfig
from cog.online.config import FinetuneConfig
from cog.training.config import TrainConfig
from cog.training.presets import PRESETS, Preset, preset


@dataclass(frozen=True)
class Train:
    """Train a policy on merged data.

    Every setting of the preset can be changed.
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """The run."""
    preset: Preset = "cpu"
    """Settings to start from: "cpu" learns in minutes on two cores, "paper" follows the reference."""
    algorithm: Annotated[str, tyro.conf.arg(metavar="|".join(ALGORITHMS))] = "cql"
    """Algorithm; its own settings are named after it, such as --cql.steps."""
    resume: bool = False
    """Whether to continue the run in the output folder from its last checkpoint."""

    seeds: tuple[int, ...] = ()
    """Seeds to train at once, each in its folder seedS in the output folder. Default: only --seed."""

    evaluate_episodes: int = 0
    """Episodes from each start after every checkpoint; 0 disables these evaluations."""
    evaluate_starts: tuple[str, ...] = ("open", "closed")
    """Starts of these evaluations, which are written to evaluations/UPDATE in the run's folder."""

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "Train":
        """The command with these options; preset and algorithm determine defaults and names."""
        name, kind = _chosen("--preset", arguments, PRESETS[0]), _chosen("--algorithm", arguments, "cql")
        missing: Path = tyro.MISSING
        config = preset(name, missing, missing, kind)
        settings = _narrowed(TrainConfig, "algorithm", type(config.algorithm), kind)
        command = _narrowed(cls, "config", settings, "")
        default = command(config=settings(**vars(config)), preset=cast(Preset, name), algorithm=kind)
        parsed = tyro.cli(command, default=default, prog="cog train", args=arguments)
        return cls(**{**vars(parsed), "config": TrainConfig(**vars(parsed.config))})

    def run(self) -> None:
        from cog.core.parallel import joined, rank, together
        from cog.training.seeds import train_seeds
        from cog.training.train import train

        with joined(self.config.device):
            with together():
                if rank() == 0 and self.evaluate_episodes:
                    self._check_evaluations()
            if rank() == 0:
                self._train_shown()
            elif self.seeds:
                train_seeds(self.config, self.seeds, resume=self.resume)
            else:
                train(self.config, resume=self.resume)

    def _train_shown(self) -> None:
        """Train with progress, results and messages on the console."""
        from cog.training.seeds import train_seeds
        from cog.training.train import train

        config, seeds = self.config, self.seeds or (self.config.seed,)
        shown = algorithm(config.algorithm.name).progress
        done = dict.fromkeys(seeds, 0)
        success: dict[int, str] = {}

        def say(text: str) -> None:
            messages().print(text)

        title = f"train {config.algorithm.name}" + (f", {len(seeds)} seeds" if self.seeds else "")
        with progress(title, config.updates * len(seeds), "update") as advance:

            def on_progress(seed: int, update: int, _: int, values: Mapping[str, float]) -> None:
                done[seed] = update
                note = metrics_note(values, shown)
                advance(sum(done.values()), f"{note}  {success.get(seed, '')}")

            def on_checkpoint(seed: int, update: int, folder: Path) -> None:
                if self.evaluate_episodes:
                    success[seed] = self._success(seed, update, folder)

            if self.seeds:
                ended = train_seeds(
                    config,
                    seeds,
                    resume=self.resume,
                    on_progress=on_progress,
                    on_message=say,
                    on_checkpoint=on_checkpoint,
                )
            else:
                ended = {
                    config.seed: train(
                        config,
                        resume=self.resume,
                        on_progress=partial(on_progress, config.seed),
                        on_message=say,
                        on_checkpoint=partial(on_checkpoint, config.seed),
                    )
                }
            # Seeds that were already finished have reported no progress.
            advance(config.updates * len(seeds), " ".join(success.values()))
        for seed, checkpoint in ended.items():
            if seed in success:
                console().print(success[seed])
            console().print(f"{checkpoint}")

    def _check_evaluations(self) -> None:
        """Refuse, before training, evaluations that could not run after it."""
        from cog.datasets.merge import open_merge
        from cog.evaluation.evaluate import check_evaluation

        data = self.config.data
        environment = open_merge(data).sources[0].dataset.environment
        try:
            for seed in self.seeds or (self.config.seed,):
                evaluation = self._evaluation(seed, 0, self.config.out / "checkpoints" / "step")
            check_evaluation(evaluation, environment, data)
        except UsageError as error:
            raise UsageError(
                f"evaluation while training: {error}",
                remedy="name starts with --evaluate-starts; for anything else, train without "
                "--evaluate-episodes and use cog evaluate",
            ) from error

    def _evaluation(self, seed: int, update: int, folder: Path) -> EvaluateConfig:
        """The evaluation of a checkpoint, in its run's folder."""
        return EvaluateConfig(
            checkpoint=folder,
            out=folder.parents[1] / "evaluations" / f"{update:07d}",
            starts=self.evaluate_starts,
            episodes=self.evaluate_episodes,
            seed=seed,
            videos=0,
        )

    def _success(self, seed: int, update: int, folder: Path) -> str:
        """Evaluate a checkpoint; return its success from each start as text."""
        from cog.evaluation.evaluate import evaluate

        report = evaluate(self._evaluation(seed, update, folder))
        rates = ", ".join(f"{entry.start} {entry.rate.count}" for entry in report.results)
        of = f" of seed {seed}" if self.seeds else ""
        return f"success{of} at {update}: {rates}"


def _narrowed(kind: type[Any], field: str, narrow: type[Any], name: str) -> type[Any]:
    """`kind` with `field` of a narrower type, whose options begin with `name`."""
    annotated = Annotated[narrow, tyro.conf.arg(name=name)]  # type: ignore[valid-type]
    old = next(entry for entry in dataclasses.fields(kind) if entry.name == field)
    if old.default_factory is dataclasses.MISSING:
        new: Any = dataclasses.field(default=old.default)
    else:
        new = dataclasses.field(default_factory=old.default_factory)
    return dataclasses.make_dataclass(kind.__name__, [(field, annotated, new)], bases=(kind,), frozen=True)


def _chosen(option: str, arguments: Sequence[str], default: str) -> str:
    for position, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
        if argument == option and position + 1 < len(arguments):
            return arguments[position + 1]
    return default


@dataclass(frozen=True)
class Evaluate:
    """Run a policy from named starts and report its success.

    Success rates come with Wilson intervals.
    """

    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")]
    """The evaluation."""

    def run(self) -> None:
        from cog.evaluation.evaluate import evaluate, results_table

        total = len(self.config.only or range(self.config.episodes)) * len(self.config.starts)
        with progress("evaluate", total, "episode") as advance:
            report = evaluate(self.config, on_progress=advance)
        console().print(results_table(report))


@dataclass(frozen=True)
class Finetune:
    """Continue training a policy online.

    It acts, and learns from its own episodes and from the offline data.
    """

    config: Annotated[FinetuneConfig, tyro.conf.arg(name="")]
    """The run."""

    def run(self) -> None:
        from cog.online.curve import handover_table
        from cog.online.finetune import finetune

        with progress("finetune", self.config.episodes, "episode") as advance:
            points = finetune(
                self.config,
                on_progress=lambda done, _, note: advance(done, note),
                on_message=lambda text: messages().print(text),
            )
        console().print(handover_table(points))
        console().print(f"{self.config.out}")
