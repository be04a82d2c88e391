"""The commands of `cog`: one frozen dataclass each, its fields the options; work is imported late."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cog.config import Preset, TrainConfig
from cog.console import console, messages, metrics_note, progress, table
from cog.evaluate_config import EvaluateConfig
from cog.experiments.demo_config import DemoConfig
from cog.experiments.reproduce_config import ReproduceConfig
from cog.finetune_config import FinetuneConfig

TRAINING_NOTE = ("td_loss", "conservative_gap", "q_data", "q_policy", "entropy", "loss")


@dataclass(frozen=True)
class Collect:
    """Run scripted behaviours in an environment and write their episodes as a dataset."""

    out: Path
    """Folder of the dataset; an interrupted collection in it resumes."""
    episodes: int
    """Number of episodes."""
    behaviour: tuple[str, ...] = ("grasp",)
    """Behaviours as NAME, NAME=WEIGHT or NAME=WEIGHT:option=value,...; each episode draws one by weight."""
    start: tuple[str, ...] = ("open",)
    """Starts; each episode draws one of them."""
    noise: float = 0.1
    """Standard deviation of the Gaussian noise added to every action component."""
    seed: int = 0
    """Seed of the whole collection."""
    keep: Literal["all", "success", "failure"] = "all"
    """Which episodes are kept; others are drawn again."""
    env: str = "cog/DrawerGrasp-v0"
    """Gymnasium id of the environment."""
    env_options: tuple[str, ...] = ()
    """Further arguments of the environment, each as name=value, such as objects=train."""
    observation: Literal["image", "state"] = "image"
    """What is recorded: images and the arm's pose, or the simulator's state."""
    image_size: int = 48
    """Height and width of the recorded images in pixels."""
    max_steps: int = 50
    """Steps after which an episode is cut off."""
    terminate_on_success: bool = True
    """Whether an episode ends at success, or the reward persists while the object is held."""
    episodes_per_shard: int = 50
    """Episodes in one shard, the unit of work and of loss."""
    workers: int = 0
    """Local processes; 0 is one per core."""
    dask: str | None = None
    """Address of a Dask scheduler to collect on instead of local processes."""

    def run(self) -> None:
        from cog.datasets.collect import collect
        from cog.datasets.spec import CollectionSpec, parse_behaviour
        from cog.options import parse_options

        spec = CollectionSpec(
            env=self.env,
            env_options=parse_options(self.env_options),
            starts=self.start,
            behaviours=tuple(parse_behaviour(text) for text in self.behaviour),
            episodes=self.episodes,
            episodes_per_shard=self.episodes_per_shard,
            noise=self.noise,
            seed=self.seed,
            keep=self.keep,
            observation=self.observation,
            image_size=self.image_size,
            max_episode_steps=self.max_steps,
            terminate_on_success=self.terminate_on_success,
        )
        with progress("collect", self.episodes, "episode") as advance:

            def on_progress(done: int, total: int, successes: int) -> None:
                advance(done, f"success {successes / max(done, 1):.0%}")

            dataset = collect(
                spec, self.out, workers=self.workers, dask_address=self.dask, on_progress=on_progress
            )
        console().print(
            f"{self.out}: {dataset.episode_count} episodes, {dataset.step_count} steps, "
            f"{dataset.success_count} successes"
        )


@dataclass(frozen=True)
class Teleop:
    """Demonstrate with the keyboard and write the episodes as a dataset; the keys are shown on the screen."""

    out: Path
    """Folder of the dataset; demonstrations begun in it are continued."""
    episodes: int = 10
    """Number of episodes in the folder at the end."""
    append: bool = False
    """Whether this many episodes come on top of those in the folder."""
    start: tuple[str, ...] = ("open",)
    """Starts; each episode draws one of them."""
    seed: int = 0
    """Seed from which each episode's initial state follows."""
    speed: float = 0.5
    """Size of an action's component while its key is held, in (0, 1]; a policy learns this speed."""
    env: str = "cog/DrawerGrasp-v0"
    """Gymnasium id of the environment."""
    env_options: tuple[str, ...] = ()
    """Further arguments of the environment, each as name=value, such as objects=train."""
    observation: Literal["image", "state"] = "image"
    """What is recorded: images and the arm's pose, or the simulator's state."""
    image_size: int = 48
    """Height and width of the recorded images in pixels."""
    max_steps: int = 200
    """Steps after which an episode is cut off; people need more than scripts."""
    terminate_on_success: bool = True
    """Whether an episode ends at success."""
    screen: Literal["auto", "window", "terminal"] = "auto"
    """Where the scene is shown and keys are read; "auto" is a window where there is a display."""

    def run(self) -> None:
        from cog.datasets.front_ends import open_front_end
        from cog.datasets.spec import CollectionSpec
        from cog.datasets.teleop import teleoperate
        from cog.options import parse_options

        spec = CollectionSpec(
            episodes=self.episodes,
            starts=self.start,
            env=self.env,
            env_options=parse_options(self.env_options),
            observation=self.observation,
            image_size=self.image_size,
            max_episode_steps=self.max_steps,
            terminate_on_success=self.terminate_on_success,
            seed=self.seed,
        )
        dataset = teleoperate(
            spec, self.out, lambda: open_front_end(self.screen), speed=self.speed, append=self.append
        )
        if dataset is None:
            console().print(f"{self.out}: no episode was saved")
            return
        console().print(
            f"{self.out}: {dataset.episode_count} episodes, {dataset.step_count} steps, "
            f"{dataset.success_count} successes"
        )


@dataclass(frozen=True)
class Relabel:
    """Give a dataset rewards by a rule, as a small file beside its untouched shards."""

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    rule: str
    """A named predicate such as grasp_success, zero, or your own function as module:function."""
    name: str
    """Name of the view; it is written to relabels/NAME.json."""
    scale: float = 1.0
    """Reward of a step on which the rule holds."""
    terminate: bool = True
    """Whether the first rewarded step ends the episode, or rewards persist and nothing terminates."""
    only: str | None = None
    """Keep only episodes whose last frame satisfies this rule, such as drawer_opened; none keeps all."""

    def run(self) -> None:
        from cog.datasets.relabel import relabel

        view = relabel(
            self.dataset, self.rule, self.name, scale=self.scale, terminate=self.terminate, only=self.only
        )
        console().print(str(view), markup=False)


@dataclass(frozen=True)
class Merge:
    """Join task and prior datasets into one training set; nothing is copied."""

    out: Path
    """Merge file to write (JSON)."""
    task: tuple[str, ...]
    """Task sources as FOLDER@RELABEL."""
    prior: tuple[str, ...] = ()
    """Prior sources as FOLDER@RELABEL."""
    task_share: float = 0.5
    """Share of each batch that task sources supply; prior sources supply the rest, by their steps."""
    materialise: Path | None = None
    """Folder for a full copy with the rewards in its shards; none copies nothing."""

    def run(self) -> None:
        from cog.datasets.materialise import materialise
        from cog.datasets.merge import write_merge

        merge = write_merge(self.out, self.task, self.prior, self.task_share)
        if self.materialise is not None:
            merge = materialise(self.out, self.materialise)
        rows = [
            [source.name, source.role, source.view.name, f"{source.share:.3f}", str(source.view.steps)]
            for source in merge.sources
        ]
        console().print(table(str(merge.path), ["source", "role", "relabel", "share", "steps"], rows))


@dataclass(frozen=True)
class Verify:
    """Check every hash, shape, range and value of a dataset or merge, and name what is wrong."""

    path: tyro.conf.Positional[Path]
    """Dataset folder or merge file."""

    def run(self) -> int:
        from cog.datasets.verify import verify

        problems = verify(self.path)
        for problem in problems:
            messages().print(str(problem), style="red", markup=False)
        console().print(f"{self.path}: {len(problems)} problems" if problems else f"{self.path}: sound")
        return 1 if problems else 0


@dataclass(frozen=True)
class Info:
    """Print what a dataset holds."""

    path: tyro.conf.Positional[Path]
    """Dataset folder or merge file."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        import json

        from cog.datasets.info import describe

        facts = describe(self.path)
        if self.json:
            console().print_json(json.dumps(facts))
            return
        rows = [[name, str(value)] for name, value in facts.items() if not isinstance(value, dict | list)]
        console().print(table(str(self.path), ["fact", "value"], rows))
        for name, value in facts.items():
            if isinstance(value, dict):
                console().print(
                    table(name, ["name", "value"], [[key, str(entry)] for key, entry in value.items()])
                )


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
        from cog.learning_curve import switch_table

        with progress("finetune", self.config.episodes, "episode") as advance:
            points = finetune(
                self.config,
                on_progress=lambda done, _, note: advance(done, note),
                on_message=lambda text: messages().print(text, markup=False),
            )
        console().print(switch_table(points))
        console().print(f"{self.config.out}", markup=False)


@dataclass(frozen=True)
class Demo:
    """Run the whole chain: collect, relabel, merge, train three arms, evaluate, report."""

    config: Annotated[DemoConfig, tyro.conf.arg(name="")]
    """The demo."""

    def run(self) -> None:
        from cog.experiments.demo import run_demo

        run_demo(self.config)


@dataclass(frozen=True)
class Reproduce:
    """Repeat the paper's experiments, every arm on every row, and set the results beside its own."""

    config: Annotated[ReproduceConfig, tyro.conf.arg(name="")]
    """The experiments."""

    def run(self) -> None:
        from cog.experiments.reproduce import reproduce

        reproduce(self.config)
