"""Commands that make episodes: by scripted behaviours, and by people."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cog.core.console import console, progress


@dataclass(frozen=True)
class Collect:
    """Run scripted behaviours and write their episodes as a dataset."""

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
    max_steps: int | None = None
    """Steps after which an episode is cut off; none takes the number of the environment's registration."""
    terminate_on_success: bool = True
    """Whether an episode ends at success, or the reward persists while the object is held."""
    episodes_per_shard: int = 50
    """Episodes in one shard, the unit of work and of loss."""
    workers: int = 0
    """Local processes; 0 is one per core."""
    dask: str | None = None
    """Address of a Dask scheduler to collect on instead of local processes."""

    def run(self) -> None:
        from cog.core.options import parse_options
        from cog.datasets.collection.collect import collect
        from cog.datasets.collection.spec import CollectionSpec, parse_behaviour
        from cog.envs.make import registered_steps

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
            max_episode_steps=registered_steps(self.env) if self.max_steps is None else self.max_steps,
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
    """Demonstrate with the keyboard; the episodes become a dataset.

    The keys are shown on the screen.
    """

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
        from cog.core.options import parse_options
        from cog.datasets.collection.spec import CollectionSpec
        from cog.datasets.teleop.front_ends import open_front_end
        from cog.datasets.teleop.teleop import teleoperate

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
