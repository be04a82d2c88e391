"""The writer: turn any episodes, including those of real robots, into a dataset, one call per episode."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import numpy as np

from cog.core.bounds import refuse_type
from cog.core.inputs import Input
from cog.core.options import usable_path
from cog.datasets.action_scale import FACT, ActionScale
from cog.datasets.episode import Episode
from cog.datasets.labels import as_json
from cog.datasets.robot_interface import KEY, Colour, Flip, RobotInterface, held_fact
from cog.datasets.storage.dataset import Dataset, NewDataset, episode_facts
from cog.datasets.storage.folder import new_folder
from cog.datasets.storage.problem import DataError, Problem
from cog.datasets.writing.cameras import Cameras
from cog.datasets.writing.checks import SUCCESS, Checks, Values
from cog.errors import CogError, UsageError
from cog.signals.success import FACT as SUCCESS_BY
from cog.signals.success import SuccessBy, decides, succeeded

REWARD, FRAME = "reward", "frame"
ALIKE = {
    "observations": "write another dataset for other poses or states; image_size brings pictures to one size",
    "action": "write another dataset for another robot",
    "signal_names": "pass the same signals, rewards and success with every episode, or write another dataset",
    "rewards": "write another dataset",
}
"""What to do where episodes differ, by the fact in which they do."""


class DatasetWriter:
    """Write episodes as a new dataset; nothing is published unless the `with` block ends without error.

    >>> import numpy as np
    >>> from cog.datasets.action_scale import ActionScale
    >>> from cog.datasets.writer import DatasetWriter
    >>> joints = ActionScale(low=(-2.0,) * 7, high=(2.0,) * 7)  # rad/s
    >>> with DatasetWriter("data/mine", colour="bgr", action_scale=joints) as writer:
    ...     for number in range(3):
    ...         camera = np.zeros((21, 480, 640, 3), np.uint8)  # one frame more than actions
    ...         poses, speeds = np.zeros((21, 14)), np.full((20, 7), 0.5)
    ...         writer.add_episode(speeds, images=camera, proprio=poses, success=number == 2)

    Relabel it next, for example with `cog relabel data/mine --rule recorded_success --name success`.
    One shard of episodes is in memory at a time.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        image_size: int | None = 48,
        camera_sizes: Mapping[str, int | None] | None = None,
        colour: Colour = "rgb",
        action_scale: ActionScale | None = None,
        interface: RobotInterface | None = None,
        environment: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        inputs: Sequence[Input] = (),
        episodes_per_shard: int = 50,
        success_by: SuccessBy = "any",
    ) -> None:
        """Prepare to write into `folder`, which is created when the `with` block begins.

        Args:
            folder: folder of the dataset, new or empty.
            image_size: height and width to which images are stretched; None keeps theirs.
            camera_sizes: name of a camera -> another size for its images; "image" is the camera of `images`.
            colour: order of the images' channels; "bgr" is OpenCV's.
            action_scale: bounds of the robot's actions, which become -1 and 1; None stores them unchanged.
            interface: names of cameras, parts of the pose and of the action, and the rate, for a robot
                that a policy is to drive; the pictures of every camera are turned over by its `flip`, as
                `Policy.act_robot` turns the robot's; how they were resized and actions scaled is added.
            environment: facts to record in JSON, such as {"id": "arm in room 3"}; they change no pictures.
            origin: origin of the episodes, in JSON; part of the dataset's identity.
            inputs: files that they were made from, if any.
            episodes_per_shard: episodes in one shard, the unit of possible loss.
            success_by: whether an episode counts as a success by any of its frames, or by its last.

        Raises:
            UsageError: an option is invalid, or facts are not JSON.
        """
        self._checks = Checks(self._problem)
        refuse_type("action_scale", action_scale, ActionScale)
        refuse_type("interface", interface, RobotInterface)
        # Of pictures that come with the facts of an `environment`, these say what was done to them already.
        flip: Flip = "none" if interface is None else interface.flip
        self._cameras = Cameras(image_size, camera_sizes, colour, self._checks, flip)
        if success_by not in get_args(SuccessBy):
            raise UsageError(f"success_by must be any or last, got {success_by!r}")
        if episodes_per_shard < 1:
            raise UsageError(f"episodes_per_shard must be at least 1, got {episodes_per_shard}")
        self.folder = usable_path(folder)
        self.dataset: Dataset | None = None
        """The dataset, once the block has ended without error."""
        scale = None if action_scale is None else action_scale.to_json()
        spec: dict[str, Any] = {"kind": "written", "origin": as_json("origin", origin or {}), FACT: scale}
        spec |= {"image_size": image_size, "colour": colour}
        if self._cameras.sizes:
            spec["camera_sizes"] = self._cameras.sizes
        self._new = NewDataset(self.folder, spec, episodes_per_shard)
        self._place = new_folder(self.folder)
        self._colour: Colour = colour
        self._scale = action_scale
        self._success_by, self._inputs = success_by, tuple(inputs)
        self._environment = {"id": "unknown", **as_json("environment", environment or {})}
        held = self._environment.pop(KEY, None)
        self._interface = interface or RobotInterface.from_json(held or {})
        self._facts: dict[str, Any] | None = None
        self.rules_differ = False
        """Whether some episode so far would be another by the other rule of success."""
        self._open, self._count, self._early = False, 0, 0

    def __enter__(self) -> "DatasetWriter":
        """Begin.

        Raises:
            CogError: the folder is not empty, or is a file.
        """
        self._place.__enter__()
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Publish the dataset, or remove what was written if an error ended the block.

        Raises:
            CogError: there were no episodes, or the disk is full; nothing is left in the folder.
        """
        self._open = False
        if error is None:
            try:
                self.dataset = self._new.finish(self._environment, self._inputs)
            except BaseException as failure:
                self._place.__exit__(type(failure), failure, failure.__traceback__)
                raise
            if self._early:
                warnings.warn(
                    f"{self.folder}: {self._early} episodes have a success mark on their first frame alone; "
                    "none of their actions led to it, so they count as no success",
                    UserWarning,
                    stacklevel=2,
                )
        self._place.__exit__(kind, error, trace)

    def __len__(self) -> int:
        """Number of episodes so far."""
        return self._count

    def add_episode(
        self,
        actions: Values,
        *,
        images: Iterable[np.ndarray] | None = None,
        cameras: Mapping[str, Iterable[np.ndarray]] | None = None,
        proprio: Values | None = None,
        state: Values | None = None,
        rewards: Values | None = None,
        success: bool | Values | None = None,
        signals: Mapping[str, Values] | None = None,
        start: str = "",
        behaviour: str = "",
        seed: int = 0,
        terminated: bool = False,
        truncated: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Add an episode of T actions and T + 1 observations, before, between and after them.

        Give `images`, with or without `proprio` and those of further `cameras`, or `state` alone. Missing
        `proprio` is stored as one constant 0. Rewards become the signal `reward`, success the signal
        `success`, for rules to use; an episode without any signal gets `frame`, the number of each frame.

        Args:
            actions: (T, A) in the robot's units, or in [-1, 1] if there is no action scale.
            images: (T+1, H, W, 3) uint8, or that many (H, W, 3) in an iterable.
            cameras: name -> (T+1, H, W, 3) uint8, or (T+1, H, W, 1) in grey, or that many in an iterable, of
                further cameras; the same ones in every episode, each of its own size.
            proprio: (T+1, P), the robot's pose, along with the images.
            state: (T+1, S), the full state, instead of images.
            rewards: (T,), the reward of each step.
            success: whether the episode ends in success, or (T+1,) whether each frame shows it; which of them
                count, `success_by` says. The first frame never counts, since no action led to it.
            signals: name -> (T+1,), further numbers from which rewards can be computed.
            start: name of the distribution of initial states.
            behaviour: name of the policy that acted.
            seed: seed of the episode, if it has one.
            terminated: whether the environment ended the episode.
            truncated: whether a time limit ended it.
            options: further facts about the episode, in JSON.

        Raises:
            DataError: naming the episode's number, the field, the rule that it breaks and a remedy; the
                episode is left out, and the block may continue.
            CogError: the writer is not open, or the disk is full.
        """
        if not self._open:
            raise CogError(
                "the writer is not open",
                where=self.folder,
                remedy="add episodes within: with DatasetWriter(...) as writer",
            )
        unit = self._actions(actions)
        frames = len(unit) + 1
        if images is None and state is None:
            rule = "there are no observations: give either images or state"
            has_pose = "pass the pose as state=, since there are no images"
            raise self._problem("images", rule, "pass images= or state=" if proprio is None else has_pose)
        if images is not None and state is not None:
            rule = "give either images or state, not both"
            raise self._problem("images", rule, "pass the state as proprio=, or leave out the images")
        if state is not None and proprio is not None:
            raise self._problem("proprio", "must come with images", "join it to the state")
        pose = None
        if images is not None:
            pose = np.zeros((frames, 1)) if proprio is None else self._pose("proprio", proprio, frames)
        named = self._signals(rewards, success, signals, frames)
        self._checks.labels(seed, options or {}, start=start, behaviour=behaviour)
        episode = Episode(
            actions=unit,
            signals=named,
            images=None if images is None else self._cameras.images(images, frames),
            cameras=self._cameras.further(cameras, frames, alone=images is None),
            proprio=None if pose is None else pose.astype(np.float32),
            state=None if state is None else self._pose("state", state, frames).astype(np.float32),
            seed=seed,
            start=start,
            behaviour=behaviour,
            options=dict(options or {}),
            success=SUCCESS in named and succeeded(named[SUCCESS][1:], self._success_by),
            terminated=self._checks.flag("terminated", terminated),
            truncated=self._checks.flag("truncated", truncated),
        )
        self._check_consistent(episode, proprio is None and images is not None)
        self._new.add(episode)
        self._count += 1
        if SUCCESS in named:
            self._environment[SUCCESS_BY] = self._success_by
            self.rules_differ |= decides(named[SUCCESS][1:], self._success_by)
            self._early += bool(named[SUCCESS][0] > 0 and not named[SUCCESS][1:].any())

    def _actions(self, actions: Values) -> np.ndarray:
        """The toolkit's actions (T, A), checked."""
        values = self._checks.numbers("actions", actions, None, 2)
        if self._scale is None:
            bounds = ActionScale((-1.0,) * values.shape[1], (1.0,) * values.shape[1])
            remedy = "give action_scale=ActionScale(low, high) with the bounds of the robot's actions"
        else:
            bounds, remedy = self._scale, "widen the action scale, or clip the actions as the robot did"
        if values.shape[1] != len(bounds.low):
            rule = f"must have {len(bounds.low)} components by the action scale, found {values.shape[1]}"
            raise self._problem("actions", rule, "give one low and one high for each component")
        outside = bounds.first_outside(values)
        if outside is not None:
            step, part = outside
            rule = f"component {part} must lie in [{bounds.low[part]:g}, {bounds.high[part]:g}], found "
            raise self._problem("actions", f"{rule}{values[step, part]:g} at step {step}", remedy)
        if self._scale is None:
            return np.clip(values, -1.0, 1.0).astype(np.float32)
        return bounds.to_unit(values)

    def _pose(self, field: str, given: Values, frames: int) -> np.ndarray:
        """The pose or the state (T+1, P), whose parts the interface may name."""
        return self._checks.numbers(field, given, frames, 2, self._interface.pose or ())

    def _signals(
        self,
        rewards: Values | None,
        success: bool | Values | None,
        signals: Mapping[str, Values] | None,
        frames: int,
    ) -> dict[str, np.ndarray]:
        """All signals, name -> (T+1,) float32."""
        named: dict[str, np.ndarray] = {}
        if rewards is not None:
            earned = self._checks.numbers("rewards", rewards, frames - 1, 1)
            named[REWARD] = np.concatenate([[0.0], earned])
        shown = None if success is None else self._checks.array(SUCCESS, success)
        if shown is not None and shown.ndim == 0:
            named[SUCCESS] = np.zeros(frames)
            named[SUCCESS][-1] = self._checks.flag(SUCCESS, shown)
        elif shown is not None:
            named[SUCCESS] = self._checks.numbers(SUCCESS, shown, frames, 1) > 0
        for name, values in (signals or {}).items():
            if name in named or not name or not isinstance(name, str):
                rule = f"the name {name!r} is not text, is empty, or is taken by the rewards or the success"
                raise self._problem("signals", rule, "choose another name")
            named[name] = self._checks.numbers(f"signals[{name}]", values, frames, 1)
        named = named or {FRAME: np.arange(frames)}
        return {name: values.astype(np.float32) for name, values in named.items()}

    def _check_consistent(self, episode: Episode, no_proprio: bool) -> None:
        """Refuse an episode whose shapes or signals differ from the first."""
        self._cameras.check_alike(episode.pictures())
        facts = {"proprio_absent": no_proprio} | episode_facts(episode)
        if self._facts is None:
            self._facts = facts
            self._environment |= {"proprio_absent": True} if no_proprio else {}
            if self._scale is not None:
                self._environment[FACT] = self._scale.to_json()
            known = held_fact(self._interface, facts, self._cameras.resize, self._colour, no_proprio)
            self._environment[KEY] = known
        if no_proprio != self._facts["proprio_absent"]:
            held = "one" if no_proprio else "none"
            rule = f"must be given with all episodes or with none; the first has {held}"
            raise self._problem("proprio", rule, "leave it out of all episodes, or write another dataset")
        for field, value in facts.items():
            if value != self._facts[field]:
                first, this = self._facts[field], value
                if field == "signal_names":
                    first, this = (
                        ", ".join(n for n in names if n != FRAME) or "none" for names in (first, this)
                    )
                rule = f"must be the same in all episodes; the first has {first}, this {this}"
                raise self._problem(field, rule, ALIKE[field])

    def _problem(self, field: str, rule: str, remedy: str) -> DataError:
        return DataError(Problem(self.folder, field, rule, remedy, self._count))
