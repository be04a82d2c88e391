"""A robot's raw pictures and pose as a policy's inputs, and its actions in the robot's units; NumPy only."""

import warnings
from collections.abc import Mapping

import numpy as np

from cog.datasets.resize import stretched
from cog.datasets.robot_interface import FLIPS, Colour, RobotInterface
from cog.errors import CogError, UsageError
from cog.networks.encoder import ObservationShape

Pictures = np.ndarray | Mapping[str, np.ndarray]
Pose = np.ndarray | Mapping[str, np.ndarray]
UNRECORDED = (
    "this policy does not know its data's action scale, cameras and pose: an earlier version wrote it, or "
    "its data were in memory. Its actions are returned in [-1, 1]: if the data had an action scale, apply it "
    "yourself (cog.ActionScale.of(dataset.environment).to_robot)"
)
UNRESET = (
    "this policy remembers earlier frames, and its method reset() was never called: this is taken for the "
    "first frame of an episode. Call it before every episode, or the policy sees frames of the last one"
)


class RobotSide:
    """What `Policy.act_robot` does before and after the network."""

    def __init__(
        self, interface: RobotInterface | None, shape: ObservationShape, actions: int, uses_pose: bool
    ) -> None:
        """`interface` is None for policies whose data did not record one; `shape` is that of the network."""
        self.known = interface or RobotInterface()
        self.recorded = interface is not None
        self.shape, self.actions, self.uses_pose = shape.single(), actions, uses_pose
        self.history = shape.history
        self._warned: set[str] = set()

    def __str__(self) -> str:
        """What the policy expects and returns, one line each."""
        known, lines = self.known, []
        for camera, (height, width, channels) in self.shape.pictures().items():
            flips = "" if known.flip == "none" else f", turned over ({known.flip})"
            how = {"stretch": "stretched to", "keep": "already of", None: "as in the data (not recorded), of"}
            colour = "grey" if channels == 1 else known.colour.upper()
            form = f"(H, W, {channels}) uint8, {colour}{flips}"
            name = self._robots_name(camera) or "camera of unknown name"
            lines.append(f"image   {name}: {form}, {how[known.resize]} {height}x{width}")
        if known.pose:
            word = "pose" if self.shape.image is not None else "state"
            parts = ", ".join(f"{name} ({size})" for name, size in known.pose)
            lines.append(f"{word:<8}{parts}{'' if self.uses_pose else '; not used by this policy'}")
        elif known.pose is None and self.uses_pose:
            lines.append(f"pose    {self.shape.proprio} numbers in the data's order (names not recorded)")
        names = ", ".join(known.action_names) or f"{self.actions} components"
        bounds = "in [-1, 1]"
        if known.scale is not None:
            bounds = f"from {list(known.scale.low)} to {list(known.scale.high)}"
        elif not self.recorded:
            bounds = "in [-1, 1], the robot's units are not recorded"
        lines.append(f"action  {names}; {bounds}")
        lines.append(
            f"rate    {'not recorded' if known.rate is None else f'{known.rate:g} actions a second'}"
        )
        if self.history is not None:
            lines.append(
                f"memory  {self.history.frames} frames, this one included, which act_robot keeps; reset() "
                "begins an episode"
            )
            lines += [f"        {line}" for line in self.history.order()]
        return "\n".join(lines)

    def inputs(
        self, images: Pictures | None, pose: Pose | None, colour: Colour | None
    ) -> tuple[dict[str, np.ndarray] | None, np.ndarray | None]:
        """Each camera's picture (1, H, W, C) uint8 and the pose (1, P) float32; None if the policy has none.

        Raises:
            CogError: something is missing, has another name, type or shape, or is not finite.
        """
        if not self.recorded:
            self._warn(UNRECORDED)
        order = self.known.colour if colour is None else colour
        cameras = self.shape.pictures()
        pictures = {name: self._picture(images, name, order)[None] for name in cameras}
        return pictures or None, self._pose(pose)[None] if self.uses_pose else None

    def warn_unreset(self) -> None:
        """Warn once that nobody said where the first episode begins."""
        self._warn(UNRESET)

    def outputs(self, actions: np.ndarray) -> np.ndarray:
        """Actions (A,) in [-1, 1] in the robot's units, float64."""
        if self.known.scale is None:
            return actions.astype(np.float64)
        return self.known.scale.to_robot(actions)

    def _picture(self, images: Pictures | None, camera: str, colour: Colour) -> np.ndarray:
        """A camera's raw picture as the data hold theirs."""
        if colour not in ("rgb", "bgr"):
            raise UsageError(f"colour order must be rgb or bgr, got {colour!r}")
        several = len(self.shape.pictures()) > 1
        height, width, channels = self.shape.pictures()[camera]
        if several and not isinstance(images, Mapping):
            called = [self._robots_name(name) or name for name in self.shape.pictures()]
            given_as = ", ".join(f"{name!r}: ..." for name in called)
            given = "no pictures" if images is None else "one picture"
            raise CogError(
                f"the policy sees several cameras ({', '.join(called)}), got {given}",
                remedy=f"give their pictures by these names: images={{{given_as}}}",
            )
        raw = images[self._camera(images, camera)] if isinstance(images, Mapping) else images
        found = "none" if raw is None else f"{getattr(raw, 'dtype', type(raw).__name__)} {np.shape(raw)}"
        fits = isinstance(raw, np.ndarray) and raw.dtype == np.uint8 and raw.ndim == 3 and raw.size > 0
        if not fits or raw.shape[2] != channels:  # type: ignore[union-attr]
            of = f" of camera '{self._robots_name(camera) or camera}'" if several else ""
            raise CogError(
                f"the policy needs one picture{of} (H, W, {channels}) uint8, got {found}",
                remedy="convert it as the data's pictures were: colour channels last, 0 to 255",
            )
        assert isinstance(raw, np.ndarray)
        raw = raw[:, :, ::-1] if colour == "bgr" and channels == 3 else raw
        raw = np.flip(raw, FLIPS[self.known.flip])
        if raw.shape[:2] != (height, width):
            if self.known.resize == "keep":
                raise CogError(
                    f"the policy needs pictures of {height}x{width}, got {raw.shape[0]}x{raw.shape[1]}: its "
                    "data kept the size that they had",
                    remedy="set the camera to that size",
                )
            if self.known.resize is None:
                self._warn(
                    "the data do not say how their pictures were resized; this one is stretched, as cog "
                    "import does"
                )
            raw = stretched(raw, height, width)
        return np.ascontiguousarray(raw)

    def _robots_name(self, camera: str) -> str | None:
        """What the robot calls a camera of the policy, if that is known."""
        places = list(self.shape.pictures())
        if self.known.cameras:
            return self.known.cameras[places.index(camera)]
        return camera if len(places) > 1 else None

    def _camera(self, images: Mapping[str, np.ndarray], camera: str) -> str:
        """Which of the pictures, by name, is that of this camera of the policy."""
        given = ", ".join(images) or "none"
        name = self._robots_name(camera)
        if name is not None:
            if name not in images:
                raise CogError(f"the policy needs the picture of camera '{name}', got {given}")
            return name
        if len(images) != 1:
            raise CogError(
                f"the data do not record the name of their camera, and these were given: {given}",
                remedy="give the picture of the camera that the data show, alone",
            )
        name = next(iter(images))
        self._warn(f"the data do not record the name of their camera; '{name}' is taken for it")
        return name

    def _pose(self, pose: Pose | None) -> np.ndarray:
        """The pose (P,) float32, its parts joined in the data's order."""
        if self.known.pose == ():  # the data had none, and hold one constant 0 instead
            return np.zeros(self.shape.proprio, np.float32)
        size = self.shape.proprio
        word = "state" if self.shape.image is None else "pose"
        if isinstance(pose, Mapping):
            if self.known.pose is None:
                raise CogError(
                    f"the data do not record the names of their {word}'s parts",
                    remedy=f"give one vector of {size} numbers, in the data's order",
                )
            given = ", ".join(pose) or "none"
            wanted = ", ".join(f"{name} ({length})" for name, length in self.known.pose)
            parts: list[np.ndarray] = []
            for name, length in self.known.pose:
                if name not in pose:
                    raise CogError(f"the policy needs the {word} {wanted}, got {given}")
                part = f"the {word}'s part '{name}'"
                _numbers(pose[name], part, length)
                parts.append(np.reshape(pose[name], -1))
                if parts[-1].size != length:
                    rule = f"{part} must have {length} numbers, got {parts[-1].size}"
                    raise CogError(f"{rule}; wanted are {wanted}")
            pose = np.concatenate(parts)
        if pose is None:
            raise CogError(f"the policy needs a {word} of {size} numbers, got none")
        numbers = _numbers(pose, f"the {word}", size)
        if numbers.shape != (size,):
            raise CogError(f"the policy needs a {word} of {size} numbers, got shape {numbers.shape}")
        return numbers

    def _warn(self, text: str) -> None:
        """Warn once of what the policy cannot know."""
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, UserWarning, stacklevel=5)


def _numbers(given: object, what: str, size: int) -> np.ndarray:
    """A pose, or a part of one, as float32 of any shape; `what` must be `size` numbers.

    Raises:
        CogError: it holds something other than real numbers.
    """
    try:
        if np.ma.is_masked(given):
            raise TypeError("entries are masked")
        found = np.asarray(given)
        if found.dtype.kind not in "biufO":
            raise TypeError(f"type {found.dtype}")
        with np.errstate(over="ignore"):  # what is too large is refused as not finite
            return found.astype(np.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor of PyTorch that is no array
        said = " ".join(str(error).split())
        raise CogError(f"{what} must be {size} real numbers ({said})") from error
