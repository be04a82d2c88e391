"""Commands for learning: train, evaluate, fine-tune online."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from cog.algorithms import ALGORITHMS, algorithm
from cog.core.console import console, counting, messages, metrics_note, progress
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

        config = self.config
        with joined(config.device):
            with together():
                if rank() == 0 and self.evaluate_episodes:
                    self._check_evaluations()
            with _Screen(self, silent=rank() > 0) as screen:
                if self.seeds:
                    ended = train_seeds(
                        config,
                        self.seeds,
                        resume=self.resume,
                        on_progress=screen.progress,
                        on_message=screen.say,
                        on_checkpoint=screen.checkpoint,
                    )
                else:
                    folder = train(
                        config,
                        resume=self.resume,
                        on_progress=partial(screen.progress, config.seed),
                        on_message=screen.say,
                        on_checkpoint=partial(screen.checkpoint, config.seed),
                    )
                    ended = {config.seed: folder}
                screen.end(ended)

    def _check_evaluations(self) -> None:
        """Refuse, before training, evaluations that could not run after it."""
        from cog.datasets.merge import open_merge
        from cog.datasets.robot_interface import KEY
        from cog.evaluation.evaluate import check_evaluation

        data = self.config.data
        merge = open_merge(data)
        environment = {**merge.sources[0].dataset.environment, "observations": merge.observations}
        if KEY in environment:
            environment[KEY] = merge.interface.to_json()
        try:
            for seed in self.seeds or (self.config.seed,):
                evaluation = self._evaluation(seed, 0, self.config.out / "checkpoints" / "step")
            check_evaluation(evaluation, environment, data, lambda text: messages().print(text))
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

    def success(self, seed: int, update: int, folder: Path) -> str:
        """Evaluate a checkpoint; return its success from each start as text."""
        from cog.evaluation.evaluate import evaluate

        report = evaluate(self._evaluation(seed, update, folder))
        rates = ", ".join(f"{entry.start} {entry.last.count}" for entry in report.results)
        of = f" of seed {seed}" if self.seeds else ""
        return f"success{of} at {update}: {rates} ({report.measure})"


class _Screen(ExitStack):
    """What the console shows of a training run: progress, messages, and success after each checkpoint."""

    def __init__(self, command: Train, silent: bool) -> None:
        super().__init__()
        self.command, self.silent = command, silent
        seeds = command.seeds or (command.config.seed,)
        self.names = algorithm(command.config.algorithm.name).progress
        self.done = dict.fromkeys(seeds, 0)
        self.success: dict[int, str] = {}
        self.total = command.config.updates * len(seeds)

    def __enter__(self) -> "_Screen":
        super().__enter__()
        if not self.silent:
            command = self.command
            several = f", {len(self.done)} seeds" if command.seeds else ""
            title = f"train {command.config.algorithm.name}{several}"
            self.advance = self.enter_context(progress(title, self.total, "update"))
        return self

    def say(self, text: str) -> None:
        """Print a sentence."""
        messages().print(text)

    def progress(self, seed: int, update: int, _: int, values: Mapping[str, float]) -> None:
        """Show how far the run of a seed is, with some of its metrics."""
        self.done[seed] = update
        note = metrics_note(values, self.names)
        self.advance(sum(self.done.values()), f"{note}  {self.success.get(seed, '')}")

    def checkpoint(self, seed: int, update: int, folder: Path) -> None:
        """Evaluate a checkpoint, if that is asked for."""
        if self.command.evaluate_episodes:
            self.success[seed] = self.command.success(seed, update, folder)

    def end(self, ended: Mapping[int, Path]) -> None:
        """Complete the bar, since some seeds may have been finished before, and print the checkpoints."""
        if self.silent:
            return
        self.advance(self.total, " ".join(self.success.values()))
        self.close()
        for seed, checkpoint in ended.items():
            if seed in self.success:
                console().print(self.success[seed])
            console().print(f"{checkpoint}")


def _narrowed(kind: type[Any], field: str, narrow: type[Any], name: str) -> type[Any]:
    """`kind` with `field` of a narrower type, whose options begin with `name`."""
    annotated = Annotated[narrow, tyro.conf.arg(name=name)]  # type: ignore[valid-type]
    old = next(entry for entry in dataclasses.fields(kind) if entry.name == field)
    if old.default_factory is dataclasses.MISSING:
        new: Any = dataclasses.field(default=old.default)
    else:
        new = dataclasses.field(default_factory=old.default_factory)
    return dataclasses.make_dataclass(
        kind.__name__,
        [(field, annotated, new)],
        bases=(kind,),
        namespace={"__doc__": kind.__doc__},
        frozen=True,
    )


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

    Success is counted at the last step and at any step, with Wilson intervals; the two are the same where
    success ends an episode.
    """

    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")]
    """The evaluation."""

    def run(self) -> None:
        from cog.evaluation.evaluate import evaluate, results_table

        totals: list[int] = []  # of the starts that the scene has
        with counting("evaluate", "episode") as count:
            report = evaluate(
                self.config,
                on_progress=lambda done, note: count(done, totals[0], note),
                on_message=partial(messages().print, style="yellow"),
                on_total=totals.append,
            )
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
