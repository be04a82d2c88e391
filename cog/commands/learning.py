"""Commands of the learner: train, evaluate, go on online."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cog.config import Preset, TrainConfig
from cog.console import console, messages, metrics_note, progress
from cog.evaluate_config import EvaluateConfig
from cog.finetune_config import FinetuneConfig

TRAINING_NOTE = ("td_loss", "conservative_gap", "q_data", "q_policy", "entropy", "loss")


@dataclass(frozen=True)
class Train:
    """Train a policy on merged data; every setting of the preset can be changed."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """The run."""
    preset: Preset = "cpu"
    """Settings to start from: "cpu" learns in minutes on two cores, "paper" follows the reference."""
    resume: bool = False
    """Continue the run in the output folder from its last checkpoint."""

    evaluate_episodes: int = 0
    """Episodes from each start after every checkpoint, shown with the losses; 0 evaluates never."""
    evaluate_starts: tuple[str, ...] = ("open", "closed")
    """Starts of these evaluations; each is written to evaluations/UPDATE in the run's folder."""

    def run(self) -> None:
        from cog.parallel import joined, rank
        from cog.train import train

        with joined(self.config.device):
            if rank() == 0:
                self._shown()
            else:
                train(self.config, resume=self.resume)

    def _shown(self) -> None:
        """Train with progress, results and messages on the console."""
        from cog.train import train

        config = self.config
        success = ""
        with progress(f"train {config.algorithm}", config.updates, "update") as advance:

            def on_progress(update: int, _: int, values: Mapping[str, float]) -> None:
                advance(update, f"{metrics_note(values, TRAINING_NOTE)}  {success}")

            def on_checkpoint(update: int, folder: Path) -> None:
                nonlocal success
                if self.evaluate_episodes:
                    success = self._success(update, folder)

            checkpoint = train(
                config,
                resume=self.resume,
                on_progress=on_progress,
                on_message=lambda text: messages().print(text, markup=False),
                on_checkpoint=on_checkpoint,
            )
        if success:
            console().print(success, markup=False)
        console().print(f"{checkpoint}")

    def _success(self, update: int, folder: Path) -> str:
        """Evaluate a checkpoint in this run's folder and say what it reached from each start."""
        from cog.evaluate import evaluate

        report = evaluate(
            EvaluateConfig(
                checkpoint=folder,
                out=self.config.out / "evaluations" / f"{update:07d}",
                starts=self.evaluate_starts,
                episodes=self.evaluate_episodes,
                seed=self.config.seed,
                videos=0,
            )
        )
        rates = ", ".join(f"{entry.start} {entry.rate.count}" for entry in report.results)
        return f"success at {update}: {rates}"


@dataclass(frozen=True)
class Evaluate:
    """Roll a checkpoint out on named starts and report success with its interval."""

    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")]
    """The evaluation."""

    def run(self) -> None:
        from cog.evaluate import evaluate, results_table

        total = self.config.episodes * len(self.config.starts)
        with progress("evaluate", total, "episode") as advance:
            report = evaluate(self.config, on_progress=advance)
        console().print(results_table(report))


@dataclass(frozen=True)
class Finetune:
    """Continue a trained policy online: it acts, and learns from what it did and from the offline data."""

    config: Annotated[FinetuneConfig, tyro.conf.arg(name="")]
    """The run."""

    def run(self) -> None:
        from cog.finetune import finetune
        from cog.learning_curve import handover_table

        with progress("finetune", self.config.episodes, "episode") as advance:
            points = finetune(
                self.config,
                on_progress=lambda done, _, note: advance(done, note),
                on_message=lambda text: messages().print(text, markup=False),
            )
        console().print(handover_table(points))
        console().print(f"{self.config.out}", markup=False)
