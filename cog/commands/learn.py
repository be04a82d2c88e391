"""Commands of the learner: train, evaluate, go on online."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from cog.core.console import console, messages, metrics_note, progress
from cog.errors import UsageError
from cog.evaluation.config import EvaluateConfig
from cog.online.config import FinetuneConfig
from cog.training.config import TrainConfig
from cog.training.presets import Preset

TRAINING_NOTE = {
    "cql": ("td_loss", "conservative_gap", "q_data", "q_policy", "entropy"),
    "bc": ("actor_loss", "log_likelihood", "action_error"),
}
"""Metrics that are shown while an algorithm trains."""


@dataclass(frozen=True)
class Train:
    """Train a policy on merged data.

    Every setting of the preset can be changed.
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """The run."""
    preset: Preset = "cpu"
    """Settings to start from: "cpu" learns in minutes on two cores, "paper" follows the reference."""
    resume: bool = False
    """Continue the run in the output folder from its last checkpoint."""

    seeds: tuple[int, ...] = ()
    """Seeds to train at once, each in a folder seedS of the output folder; none trains the run's own."""

    evaluate_episodes: int = 0
    """Episodes from each start after every checkpoint, shown with the losses; 0 evaluates never."""
    evaluate_starts: tuple[str, ...] = ("open", "closed")
    """Starts of these evaluations; each is written to evaluations/UPDATE in the run's folder."""

    def run(self) -> None:
        from cog.core.parallel import joined, rank, together
        from cog.training.seeds import train_seeds
        from cog.training.train import train

        with joined(self.config.device):
            with together():
                if rank() == 0 and self.evaluate_episodes:
                    self._check_evaluations()
            if rank() == 0:
                self._shown()
            elif self.seeds:
                train_seeds(self.config, self.seeds, resume=self.resume)
            else:
                train(self.config, resume=self.resume)

    def _shown(self) -> None:
        """Train with progress, results and messages on the console."""
        from cog.training.seeds import train_seeds
        from cog.training.train import train

        config, seeds = self.config, self.seeds or (self.config.seed,)
        done = dict.fromkeys(seeds, 0)
        success: dict[int, str] = {}

        def say(text: str) -> None:
            messages().print(text)

        title = f"train {config.algorithm}" + (f", {len(seeds)} seeds" if self.seeds else "")
        with progress(title, config.updates * len(seeds), "update") as advance:

            def on_progress(seed: int, update: int, _: int, values: Mapping[str, float]) -> None:
                done[seed] = update
                note = metrics_note(values, TRAINING_NOTE[config.algorithm])
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
            advance(
                config.updates * len(seeds), " ".join(success.values())
            )  # some may have been finished before
        for seed, checkpoint in ended.items():
            if seed in success:
                console().print(success[seed])
            console().print(f"{checkpoint}")

    def _check_evaluations(self) -> None:
        """Refuse before training what could not be evaluated after it."""
        from cog.datasets.merge import open_merge
        from cog.evaluation.evaluate import check_evaluation

        data = self.config.data
        environment = open_merge(data).sources[0].dataset.environment
        try:
            for seed in self.seeds or (self.config.seed,):
                asked = self._evaluation(seed, 0, self.config.out / "checkpoints" / "step")
            check_evaluation(asked, environment, data)
        except UsageError as error:
            raise UsageError(
                f"evaluating while training: {error} (starts are named by --evaluate-starts; for all else "
                "train without --evaluate-episodes, and use cog evaluate)"
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
        """Evaluate a checkpoint and say what it reached from each start."""
        from cog.evaluation.evaluate import evaluate

        report = evaluate(self._evaluation(seed, update, folder))
        rates = ", ".join(f"{entry.start} {entry.rate.count}" for entry in report.results)
        of = f" of seed {seed}" if self.seeds else ""
        return f"success{of} at {update}: {rates}"


@dataclass(frozen=True)
class Evaluate:
    """Roll a policy out from named starts and report its success.

    Success is reported with its Wilson interval.
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

    It acts, and learns from what it did and from the offline data.
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
