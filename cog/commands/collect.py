"""Commands that make episodes: by scripted behaviours, and by people."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from cog.core.console import console, messages, progress
from cog.errors import UsageError


@dataclass(frozen=True)
class EpisodeOptions:
    """The environment of the episodes, their starts, and what is recorded."""

    start: tuple[str, ...] = ()
    """Starts, of which each episode draws one. Default: the first of the environment."""
    seed: int = 0
    """Seed of all episodes."""
    env: str = "cog/DrawerGrasp-v0"
    """Gymnasium id of the environment."""
    env_options: tuple[str, ...] = ()
    """Further arguments of the environment, each as name=value, such as objects=train."""
    observation: Literal["image", "state"] | None = None
    """What is recorded: images and the arm's pose, or the simulator's state.

    Default: images; of a plain environment its picture, if it observes one."""
    image_size: int = 48
    """Height and width of the recorded images in pixels."""
    wrist: bool = False
    """Whether the camera at the wrist is recorded, too; the same as --env-options wrist=true."""
    terminate_on_success: bool = True
    """Whether an episode ends at success; otherwise at its last step, or when its behaviour is done.

    A behaviour is done once it has succeeded, or, with its option hold, that many steps later."""

    def spec(self) -> dict[str, Any]:
        """These options as fields of a collection's spec.

        Raises:
            UsageError: the environment cannot be built, or has no camera at the wrist where one is asked for.
        """
        from cog.core.options import parse_options
        from cog.envs.make import check_wrist, shown_by_default, starts_of

        options = parse_options(self.env_options)
        if self.wrist:
            check_wrist(self.env)
            if options.setdefault("wrist", True) is not True:
                raise UsageError(
                    f"--wrist asks for the camera at the wrist, but --env-options wrist={options['wrist']}",
                    remedy="give one of them",
                )
        return {
            "starts": self.start or starts_of(self.env)[:1],
            "seed": self.seed,
            "env": self.env,
            "env_options": options,
            "observation": self.observation or shown_by_default(self.env, options),
            "image_size": self.image_size,
            "terminate_on_success": self.terminate_on_success,
        }


@dataclass(frozen=True)
class Collect:
    """Run scripted behaviours or a policy and write a dataset."""

    out: Path
    """Folder of the dataset; an interrupted collection in it is resumed."""
    episodes: int
    """Number of episodes."""
    made: Annotated[EpisodeOptions, tyro.conf.arg(name="")]
    """The episodes."""
    behaviour: tuple[str, ...] = ()
    """Behaviours as NAME, NAME=WEIGHT or NAME=WEIGHT:option=value,...; each episode draws one by weight.

    Default: grasp."""
    policy: str | None = None
    """Instead of behaviours, a function as module:function, from an observation to an action.

    Both are those of the environment itself. Its method reset(), if any, is called before each episode."""
    noise: float = 0.1
    """Standard deviation of the Gaussian noise added to every action component."""
    keep: Literal["all", "success", "failure"] = "all"
    """Which episodes are kept; others are replaced."""
    max_steps: int | None = None
    """Steps after which an episode is cut off. Default: as registered with the environment."""
    episodes_per_shard: int = 50
    """Episodes in one shard, the unit of work and of possible loss."""
    workers: int = 0
    """Local worker processes, 0 for one per core."""
    dask: str | None = None
    """Address of a Dask scheduler to collect on instead of local processes."""

    def run(self) -> None:
        from cog.datasets.collection.collect import collect
        from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec, parse_behaviour
        from cog.envs.make import registered_steps

        if self.policy is not None and self.behaviour:
            raise UsageError("--policy and --behaviour both say who acts", remedy="give one of them")
        if self.policy is not None and ":" not in self.policy:
            raise UsageError(f"policy {self.policy!r} is no function", remedy="name it as module:function")
        behaviours = tuple(parse_behaviour(text) for text in self.behaviour or ("grasp",))
        spec = CollectionSpec(
            episodes=self.episodes,
            behaviours=behaviours if self.policy is None else (BehaviourChoice(self.policy),),
            noise=self.noise,
            keep=self.keep,
            max_episode_steps=registered_steps(self.made.env) if self.max_steps is None else self.max_steps,
            episodes_per_shard=self.episodes_per_shard,
            **self.made.spec(),
        )
        if self.made.terminate_on_success and any(choice.options.get("hold") for choice in spec.behaviours):
            messages().print(
                "note: where a behaviour reaches the scene's success, the episode ends there and nothing is "
                "held; --no-terminate-on-success lets it go on"
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
    """Demonstrate with the keyboard; the episodes become a dataset.

    The keys are shown on the screen.
    """

    out: Path
    """Folder of the dataset; unfinished demonstrations in it are continued."""
    made: Annotated[EpisodeOptions, tyro.conf.arg(name="")]
    """The episodes."""
    episodes: int = 10
    """Number of episodes in the folder at the end."""
    append: bool = False
    """Whether to add this many episodes to those in the folder."""
    speed: float = 0.5
    """Magnitude of an action component while its key is pressed, in (0, 1]; policies learn this speed."""
    max_steps: int = 200
    """Steps after which an episode is cut off; people need more than scripted behaviours."""
    screen: Literal["auto", "window", "terminal"] = "auto"
    """Where the scene is shown and keys are read; "auto" opens a window if there is a display."""

    def run(self) -> None:
        from cog.datasets.collection.spec import CollectionSpec
        from cog.datasets.teleop.front_ends import open_front_end
        from cog.datasets.teleop.teleop import teleoperate

        spec = CollectionSpec(episodes=self.episodes, max_episode_steps=self.max_steps, **self.made.spec())
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
