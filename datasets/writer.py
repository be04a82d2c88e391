"""The writer: turn any episodes, including those of real robots, into a dataset, one call per episode."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import numpy as np

from cog.core.bounds import refuse_type
from cog.core.inputs import Input
from cog.datasets.action_scale import FACT, ActionScale
from cog.datasets.episode import Episode
from cog.datasets.importers import pictures
from cog.datasets.labels import as_json, is_unicode
from cog.datasets.precision import merged
from cog.datasets.robot_interface import KEY, Colour, Resize, RobotInterface, held_fact
from cog.datasets.storage.dataset import Dataset, NewDataset, episode_facts
from cog.datasets.storage.folder import new_folder
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError, UsageError
from cog.signals.success import FACT as SUCCESS_BY
from cog.signals.success import SuccessBy, decides, succeeded

REWARD, SUCCESS, FRAME = "reward", "success", "frame"
ALIKE = {
    "observations": "write another dataset for other poses or states; image_size brings pictures to one size",
    "action": "write another dataset for another robot",
    "signal_names": "pass the same signals, rewards and success with every episode, or write another dataset",
    "rewards": "write another dataset",
}
"""What to do where episodes differ, by the fact in which they do."""
MERGED = "subtract a start value from it and store the differences, or leave it out"
Values = np.ndarray | Sequence[Any]


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
            colour: order of the images' channels; "bgr" is OpenCV's.
            action_scale: bounds of the robot's actions, which become -1 and 1; None stores them unchanged.
            interface: names of cameras, parts of the pose and of the action, and the rate, for a robot
                that a policy is to drive; how pictures were resized and actions scaled is added.
            environment: facts to record in JSON, such as {"id": "arm in room 3"}.
            origin: origin of the episodes, in JSON; part of the dataset's identity.
            inputs: files that they were made from, if any.
            episodes_per_shard: episodes in one shard, the unit of possible loss.
            success_by: whether an episode counts as a success by any of its frames, or by its last.

        Raises:
            UsageError: an option is invalid, or facts are not JSON.
        """
        pictures.check_options(image_size, colour)
        refuse_type("action_scale", action_scale, ActionScale)
        refuse_type("interface", interface, RobotInterface)
        if success_by not in get_args(SuccessBy):
            raise UsageError(f"success_by must be any or last, got {success_by!r}")
        if episodes_per_shard < 1:
            raise UsageError(f"episodes_per_shard must be at least 1, got {episodes_per_shard}")
        self.folder = Path(folder)
        self.dataset: Dataset | None = None
        """The dataset, once the block has ended without error."""
        scale = None if action_scale is None else action_scale.to_json()
        spec: dict[str, Any] = {"kind": "written", "origin": as_json("origin", origin or {}), FACT: scale}
        spec |= {"image_size": image_size, "colour": colour}
        self._new = NewDataset(self.folder, spec, episodes_per_shard)
        self._place = new_folder(self.folder)
        self._image_size, self._colour, self._scale = image_size, colour, action_scale
        self._success_by, self._inputs = success_by, tuple(inputs)
        self._environment = {"id": "unknown", **as_json("environment", environment or {})}
        held = self._environment.pop(KEY, None)
        self._interface = interface or RobotInterface.from_json(held or {})
        self._facts: dict[str, Any] | None = None
        self._open, self._count = False, 0

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
        self._place.__exit__(kind, error, trace)

    def __len__(self) -> int:
        """Number of episodes so far."""
        return self._count

    def add_episode(
        self,
        actions: Values,
        *,
        images: Iterable[np.ndarray] | None = None,
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

        Give `images`, with or without `proprio`, or `state` alone. Missing `proprio` is stored as one
        constant 0. Rewards become the signal `reward`, success the signal `success`, for rules to use; an
        episode without any signal gets `frame`, the number of each frame.

        Args:
            actions: (T, A) in the robot's units, or in [-1, 1] if there is no action scale.
            images: (T+1, H, W, 3) uint8, or that many (H, W, 3) in an iterable.
            proprio: (T+1, P), the robot's pose, along with the images.
            state: (T+1, S), the full state, instead of images.
            rewards: (T,), the reward of each step.
            success: whether the episode ends in success, or (T+1,) whether each frame shows it; which of them
                count, `success_by` says.
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
            pose = np.zeros((frames, 1)) if proprio is None else self._numbers("proprio", proprio, frames, 2)
        named = self._signals(rewards, success, signals, frames)
        self._check_labels(seed, options or {}, start=start, behaviour=behaviour)
        episode = Episode(
            actions=unit,
            signals=named,
            images=None if images is None else self._images(images, frames),
            proprio=None if pose is None else pose.astype(np.float32),
            state=None if state is None else self._numbers("state", state, frames, 2).astype(np.float32),
            seed=seed,
            start=start,
            behaviour=behaviour,
            options=dict(options or {}),
            success=SUCCESS in named and succeeded(named[SUCCESS][1:], self._success_by),
            terminated=self._flag("terminated", terminated),
            truncated=self._flag("truncated", truncated),
        )
        self._check_consistent(episode, proprio is None and images is not None)
        self._new.add(episode)
        self._count += 1
        if SUCCESS in named and decides(named[SUCCESS][1:], self._success_by):
            self._environment[SUCCESS_BY] = self._success_by

    def _actions(self, actions: Values) -> np.ndarray:
        """The toolkit's actions (T, A), checked."""
        values = self._numbers("actions", actions, None, 2)
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

    def _images(self, images: Iterable[np.ndarray], frames: int) -> np.ndarray:
        try:
            frames_given = iter(images)
        except TypeError as error:
            rule = f"must be pictures (T + 1, H, W, 3), found {type(images).__name__}"
            raise self._problem("images", rule, "pass an array or an iterable of pictures") from error
        first = next(frames_given, None)
        if first is None:
            rule = f"must be {frames} pictures for {frames - 1} actions, found none"
            raise self._problem("images", rule, "add the pictures, or pass a state instead")
        try:
            fitted = pictures.fit(chain([first], frames_given), self._image_size, self._colour)
        except pictures.UnfitError as error:
            rule, remedy = error.args
            raise self._problem("images", rule, remedy) from error
        except ValueError as error:
            rule = f"must be pictures of one size ({error})"
            raise self._problem("images", rule, "give an image_size to which they are stretched") from error
        self._check_rows("images", len(fitted), frames)
        return fitted

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
            earned = self._numbers("rewards", rewards, frames - 1, 1)
            named[REWARD] = np.concatenate([[0.0], earned])
        shown = None if success is None else self._array(SUCCESS, success)
        if shown is not None and shown.ndim == 0:
            named[SUCCESS] = np.zeros(frames)
            named[SUCCESS][-1] = self._flag(SUCCESS, shown)
        elif shown is not None:
            named[SUCCESS] = self._numbers(SUCCESS, shown, frames, 1) > 0
        for name, values in (signals or {}).items():
            if name in named or not name or not isinstance(name, str):
                rule = f"the name {name!r} is not text, is empty, or is taken by the rewards or the success"
                raise self._problem("signals", rule, "choose another name")
            named[name] = self._numbers(f"signals[{name}]", values, frames, 1)
        named = named or {FRAME: np.arange(frames)}
        return {name: values.astype(np.float32) for name, values in named.items()}

    def _numbers(self, field: str, given: Values, rows: int | None, axes: int) -> np.ndarray:
        """Finite numbers with `axes` axes and, if given, `rows` rows, float64."""
        values = self._array(field, given)
        if values.ndim != axes:
            rule = f"must have {axes} ax{'e' if axes > 1 else 'i'}s, found shape {values.shape}"
            remedy = "reshape it: one row per step for actions and rewards, one row per frame for all else"
            if (values.ndim, axes) == (1, 2):
                remedy = "reshape it: one number a row is values[:, None]"
            raise self._problem(field, rule, remedy)
        if values.size == 0:
            remedy = (
                "leave the episode out: it has no step"
                if field == "actions" and len(values) == 0
                else "reshape it to at least one number a row, or leave it out"
            )
            raise self._problem(field, f"must not be empty, found shape {values.shape}", remedy)
        if rows is not None:
            self._check_rows(field, len(values), rows)
        stored, values = values, values.astype(np.float64)
        with np.errstate(over="ignore"):
            finite = np.isfinite(values.astype(np.float32)).reshape(len(values), -1)
        broken = np.flatnonzero(~finite.all(axis=1))
        if len(broken):
            row = values[broken[0]].reshape(-1)
            found = row[~finite[broken[0]]][0]
            rule = f"must be finite in float32, found {found:g} in row {broken[0]}"
            raise self._problem(field, rule, "leave the episode out, or repair the recording")
        parts = self._interface.pose if field in ("proprio", "state") else ()
        if field not in ("actions", SUCCESS) and (fault := merged(stored, parts or ())) is not None:
            raise self._problem(field, fault, MERGED)
        return values

    def _array(self, field: str, given: Any) -> np.ndarray:
        """Numbers or booleans of any shape."""
        if np.ma.is_masked(given):
            remedy = "put what is meant in their place, or leave the episode out"
            raise self._problem(field, "must have no masked entries", remedy)
        try:
            values = np.asarray(given)
        except ValueError as error:
            raise self._problem(field, f"must be an array ({error})", "give rows of one length") from error
        if values.dtype.kind not in "fiub":
            rule = f"must be numbers or booleans, found type {values.dtype}"
            raise self._problem(field, rule, "convert it, such as by np.asarray(values, np.float32)")
        return values

    def _flag(self, field: str, given: Any) -> bool:
        """One boolean, or a number instead."""
        values = self._array(field, given)
        if values.size != 1 or values.item() not in (0, 1):
            raise self._problem(field, f"must be True or False, found {values.tolist()}", "convert it")
        return bool(values.item())

    def _check_labels(self, seed: int, options: Mapping[str, Any], **texts: str) -> None:
        """Refuse labels that a shard cannot hold."""
        if not isinstance(seed, Integral) or not 0 <= seed < 2**63:
            rule = f"must lie in [0, 2^63) and be a whole number, got {seed!r}"
            raise self._problem("seed", rule, "leave it out")
        for field, text in texts.items():
            if not isinstance(text, str) or "\0" in text or not is_unicode(text):
                raise self._problem(field, f"must be UTF-8 text without NUL, got {text!r}", "leave it out")
        try:
            json.dumps(dict(options), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise self._problem(
                "options", f"must be JSON ({error})", "leave out values that are not"
            ) from error

    def _check_rows(self, field: str, found: int, expected: int) -> None:
        if found != expected:
            steps = expected - 1 if field != "rewards" else expected
            rule = f"must have {expected} rows for {steps} actions, found {found}"
            remedy = "add or drop rows: there is one for each frame before, between and after the actions"
            if field == "rewards":
                remedy = "give each action its reward, and no more"
            elif found == steps:
                remedy = "add the observation after the last action, or drop that action and its reward"
            raise self._problem(field, rule, remedy)

    def _check_consistent(self, episode: Episode, no_proprio: bool) -> None:
        """Refuse an episode whose shapes or signals differ from the first."""
        facts = {"proprio_absent": no_proprio} | episode_facts(episode)
        if self._facts is None:
            self._facts = facts
            self._environment |= {"proprio_absent": True} if no_proprio else {}
            if self._scale is not None:
                self._environment[FACT] = self._scale.to_json()
            resize: Resize = "stretch" if self._image_size else "keep"
            self._environment[KEY] = held_fact(self._interface, facts, resize, self._colour, no_proprio)
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
