"""What lies between a robot and the numbers of its data: cameras, pictures, pose, action units and rate.

Datasets record it among the facts of their environment, checkpoints among those of their scene, so that a
policy can be given what the robot gives and returns what the robot takes.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cog.datasets.action_scale import ActionScale
from cog.datasets.episode import cameras_of
from cog.errors import CogError, UsageError

KEY = "robot_interface"  # among a dataset's environment facts and a checkpoint's scene facts
Resize = Literal["stretch", "keep"]
Flip = Literal["none", "vertical", "horizontal", "both"]
Colour = Literal["rgb", "bgr"]
FLIPS: Mapping[Flip, tuple[int, ...]] = {"none": (), "vertical": (0,), "horizontal": (1,), "both": (0, 1)}
"""Axes of a picture (H, W, 3) that each way turns over."""


@dataclass(frozen=True)
class RobotInterface:
    """What a robot's own pictures, pose and actions are called, and how the data hold them."""

    cameras: tuple[str, ...] = ()
    """The robot's names of the cameras, in the order of `Episode.pictures`; empty if unknown or if none."""
    resize: Resize | None = None
    """Whether pictures of any camera were stretched to the data's size, or kept theirs; None if unknown."""
    flip: Flip = "none"
    """How the robot's own pictures are turned over before that, when written and by `Policy.act_robot`."""
    pose: tuple[tuple[str, int], ...] | None = None
    """Name and length of each part of the pose (or of the state), in their order; None if unknown."""
    action_names: tuple[str, ...] = ()
    """Names of the components of an action; empty if unknown."""
    scale: ActionScale | None = None
    """Bounds of the robot's actions; None if the data hold them unchanged, in [-1, 1]."""
    rate: float | None = None
    """Actions a second; None if unknown."""
    colour: Colour = "rgb"
    """Order of the channels of the robot's own pictures; the data hold RGB."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: naming the field, its value and what is allowed.
        """
        for field in ("cameras", "action_names", "pose"):
            given = () if getattr(self, field) is None else getattr(self, field)
            if not isinstance(given, tuple | list):
                raise UsageError(f"{field} must be a tuple, got {given!r}", where="robot interface")
            if field == "pose" and not all(
                isinstance(part, tuple | list) and len(part) == 2 for part in given
            ):
                what = f"pose must be pairs of a name and a length, got {given!r}"
                raise UsageError(what, where="robot interface")
        names = (*self.cameras, *self.action_names, *(name for name, _ in self.pose or ()))
        sizes = [size for _, size in self.pose or ()]
        unnamed = not all(isinstance(name, str) and name for name in names)
        for field, wrong, rule in (
            ("cameras, pose and action_names", unnamed, "be text, none of it empty"),
            ("cameras", len(set(self.cameras)) < len(self.cameras), "differ from each other"),
            ("pose", len(dict(self.pose or ())) < len(sizes), "have parts of different names"),
            ("pose", not all(_whole(size) and size > 0 for size in sizes), "have whole lengths above 0"),
            ("resize", self.resize not in (*get_args(Resize), None), f"be one of {get_args(Resize)}"),
            ("flip", self.flip not in get_args(Flip), f"be one of {get_args(Flip)}"),
            ("colour", self.colour not in get_args(Colour), f"be one of {get_args(Colour)}"),
            ("rate", self.rate is not None and not _positive(self.rate), "be a positive number"),
        ):
            if wrong:
                raise UsageError(f"{field} must {rule}, got {self}", where="robot interface")

    def to_json(self) -> dict[str, Any]:
        """What is known of the interface, as JSON values; `from_json` rebuilds it."""
        values = {**vars(self), "scale": None if self.scale is None else self.scale.to_json()}
        standard = vars(RobotInterface())
        return {name: _lists(value) for name, value in values.items() if value != standard[name]}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "RobotInterface":
        """Rebuild an interface; fields that a newer version added are left out.

        Raises:
            CogError: it is malformed.
        """
        try:
            pose, scale = value.get("pose"), value.get("scale")
            return RobotInterface(
                cameras=tuple(value.get("cameras", ())),
                resize=value.get("resize"),
                flip=value.get("flip", "none"),
                pose=None if pose is None else tuple((name, size) for name, size in pose),
                action_names=tuple(value.get("action_names", ())),
                scale=None if scale is None else ActionScale(tuple(scale["low"]), tuple(scale["high"])),
                rate=value.get("rate"),
                colour=value.get("colour", "rgb"),
            )
        except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
            raise CogError(f"the recorded {KEY} is malformed: {value}") from error

    def check(self, cameras: Sequence[str], pose: int, actions: int) -> None:
        """Compare it with the data: their cameras, "image" first, and the shapes P and A.

        Raises:
            UsageError: naming the field, what it says and what the data hold.
        """
        parts = sum(size for _, size in self.pose or ())
        for wrong, rule in (
            (
                self.cameras and not cameras,
                f"cameras {_text(self.cameras)} are named, but there are no images",
            ),
            (
                self.cameras and len(self.cameras) != len(cameras),
                f"{_count(self.cameras)} named ({_text(self.cameras)}), but the data have "
                f"{len(cameras)} ({_text(tuple(cameras))})",
            ),
            (
                len(set(self.action_names)) < len(self.action_names),
                f"action_names {_text(self.action_names)} name one twice",
            ),
            (
                self.pose and parts != pose,
                f"pose {_text(self.pose)} has {parts} numbers, but the data {pose}",
            ),
            (
                self.action_names and len(self.action_names) != actions,
                f"action_names are {len(self.action_names)}, but actions have {actions} components",
            ),
        ):
            if wrong:
                raise UsageError(rule, where="robot interface", remedy="correct it, or leave it out")


def recorded(environment: Mapping[str, Any], spec: Mapping[str, Any]) -> RobotInterface:
    """What a dataset of these facts records; of datasets from before, what follows from their spec.

    Raises:
        CogError: the record is malformed.
    """
    held = environment.get(KEY)
    found = _before(environment, spec) if held is None else RobotInterface.from_json(held)
    if spec.get("colour") == "bgr" and "image" in environment.get("observations", {}):
        found = dataclasses.replace(found, colour="bgr")  # said there before the interface said it
    return dataclasses.replace(found, scale=ActionScale.of(environment))


def held_fact(
    known: RobotInterface, facts: Mapping[str, Any], resize: Resize, colour: Colour, no_proprio: bool
) -> dict[str, Any]:
    """What a dataset of these facts (see `episode_facts`) holds of an interface, as JSON.

    The scale is a fact of its own.

    Raises:
        UsageError: the interface does not fit the episodes.
    """
    shapes = facts["observations"]
    cameras = cameras_of(shapes)
    known = dataclasses.replace(known, scale=None, resize=resize if cameras else None)
    known = dataclasses.replace(known, colour=colour if cameras else "rgb")
    if no_proprio:
        known = dataclasses.replace(known, pose=())
    known.check(cameras, shapes["proprio" if cameras else "state"][0], facts["action"][0])
    return known.to_json()


def scene_fact(images: bool, rate: Any, no_proprio: bool) -> dict[str, Any]:
    """What a collection holds of its scene, as JSON: it draws in the data's size, at a rate it may name."""
    known = RobotInterface(
        resize="keep" if images else None,
        pose=() if no_proprio else None,
        rate=float(rate) if isinstance(rate, int | float) and _positive(rate) else None,
    )
    return known.to_json()


def joined(task: Sequence[RobotInterface]) -> RobotInterface:
    """What a policy keeps of the interfaces of its task data: of each field the first that is known."""
    fields = [field.name for field in dataclasses.fields(RobotInterface)]
    known = {
        name: next((value for one in task if _said(name, value := getattr(one, name))), None)
        for name in fields
    }
    return dataclasses.replace(task[0], **{name: value for name, value in known.items() if value is not None})


def disagreements(sources: Sequence[tuple[str, RobotInterface]]) -> list[str]:
    """Notes on what sources, given by name, say differently; what one does not say is no difference."""
    notes = []
    for field, words in (
        ("cameras", "cameras"),
        ("resize", "sizes of pictures (kept or stretched)"),
        ("flip", "flips of pictures"),
        ("pose", "pose"),
        ("action_names", "names of actions"),
        ("rate", "rates"),
    ):
        said: dict[Any, str] = {}
        for name, interface in sources:
            value = getattr(interface, field)
            if _said(field, value):
                said.setdefault(value, name)
        if len(said) > 1:
            listed = ", ".join(f"{name}: {_text(value)}" for value, name in said.items())
            notes.append(
                f"the sources have different {words} ({listed}); they are mixed as they are, and a policy "
                "goes by the task's"
            )
    return notes


def _said(field: str, value: Any) -> bool:
    """Whether a field's value is known; a pose without parts is known not to be there."""
    return value is not None and (value != () or field == "pose")


def _before(environment: Mapping[str, Any], spec: Mapping[str, Any]) -> RobotInterface:
    """What follows from the facts and the spec of a dataset that an earlier version wrote."""
    origin = spec.get("origin")
    origin = origin if isinstance(origin, dict) else {}
    camera, keys, rate = origin.get("image"), origin.get("proprio") or [], environment.get("fps")
    shapes = environment.get("observations", {})
    pose: tuple[tuple[str, int], ...] | None = None
    if environment.get("proprio_absent"):
        pose = ()
    elif len(keys) == 1 and keys != ["none"]:
        size = shapes.get("proprio", shapes.get("state", [0]))[0]
        pose = ((str(keys[0]), size),) if size else None
    resize: Resize | None = None
    if "image" in shapes and spec.get("kind") == "written":
        resize = "stretch" if spec.get("image_size") else "keep"
    elif "image" in shapes and "env" in spec:
        resize = "keep"  # a scene draws its pictures in the data's size
    return RobotInterface(
        cameras=(camera,) if isinstance(camera, str) and camera != "none" else (),
        resize=resize,
        pose=pose,
        rate=float(rate) if isinstance(rate, int | float) and _positive(rate) else None,
    )


def _count(cameras: Sequence[str]) -> str:
    return "1 camera is" if len(cameras) == 1 else f"{len(cameras)} cameras are"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _positive(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


def _lists(value: Any) -> Any:
    return [_lists(entry) for entry in value] if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    """A field's value for people to read."""
    if not isinstance(value, tuple):
        return f"{value:g}" if isinstance(value, float) else str(value)
    parts = ["none"] if value == () else []
    parts += [f"{one[0]} ({one[1]})" if isinstance(one, tuple) else str(one) for one in value]
    return " + ".join(parts)
