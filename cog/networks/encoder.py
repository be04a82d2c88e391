"""The encoder: the images of one or several cameras, and pose, to features.

Shapes: B states, F features.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cog.errors import CogError, UsageError
from cog.networks.config import NetworkConfig
from cog.networks.history import History
from cog.networks.images.convolutions import convolutions

SMALLEST_IMAGE = 4  # pixels a side; the convolutions reduce smaller images to nothing


Size = tuple[int, int, int]
"""Height, width and channels of a camera's images."""
Images = Tensor | tuple[Tensor, ...]
"""The images (B, C, H, W) of the only camera, or those of each camera in the order of the shape."""


class ObservationShape(NamedTuple):
    """What the policy sees: the size of its cameras' images, if any, and the length of the pose vector.

    With a history these are the sizes of several frames together (see `cog.networks.history`).
    """

    image: Size | None
    """Of the first camera; None without images."""
    proprio: int
    """P, numbers of the pose or of the state."""
    cameras: tuple[tuple[str, Size], ...] = ()
    """Name and size of each further camera."""
    first: str = "image"
    """Name of the first camera."""
    history: History | None = None
    """How several frames make up these sizes; None where the current frame is all."""

    def pictures(self) -> dict[str, Size]:
        """The size of every camera's images by its name, in their order; empty without images."""
        return {} if self.image is None else {self.first: self.image, **dict(self.cameras)}

    def single(self) -> "ObservationShape":
        """The shape of one frame."""
        history = self.history
        if history is None:
            return self
        shape = self._with_channels(lambda channels: channels // history.images)
        return shape._replace(proprio=history.pose, history=None)

    def with_history(self, network: NetworkConfig, actions: int) -> "ObservationShape":
        """The shape that a network of these settings sees, given that of one frame and of an action (A,).

        Raises:
            UsageError: there are no pictures, or no poses, of which the settings ask for a history.
        """
        depth = network.history
        if depth == 1:
            return self
        feels = network.use_proprio or self.image is None
        if network.history_of == "frames" and self.image is None:
            raise UsageError(
                "history of frames asked for, but the data hold states and no images",
                where="network.history_of",
                remedy="choose --network.history-of pose",
            )
        if network.history_of == "pose" and not feels:
            raise UsageError(
                "history of the pose asked for, which the policy does not see",
                where="network.history_of",
                remedy="choose --network.history-of frames, or leave out --network.no-use-proprio",
            )
        images = depth if network.history_of != "pose" and self.image is not None else 1
        poses = depth if network.history_of != "frames" and feels else 1
        history = History(images, poses, self.proprio, actions)
        shape = self._with_channels(lambda channels: channels * images)
        return shape._replace(proprio=history.numbers, history=history)

    def to_json(self) -> dict[str, Any]:
        """The shape as JSON values, which name cameras only where there is more to say than one size."""
        several: dict[str, Any] = {} if self.first == "image" else {"first": self.first}
        several |= {"cameras": [[name, list(size)] for name, size in self.cameras]} if self.cameras else {}
        several |= {} if self.history is None else {"history": self.history._asdict()}
        return {"image": None if self.image is None else list(self.image), "proprio": self.proprio, **several}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "ObservationShape":
        """Rebuild a shape from what `to_json` gives, which other entries may accompany."""
        image = None if value["image"] is None else _size(value["image"])
        further = tuple((str(name), _size(size)) for name, size in value.get("cameras", ()))
        history = None if value.get("history") is None else History.from_json(value["history"])
        first = str(value.get("first", "image"))
        return ObservationShape(image, int(value["proprio"]), further, first, history)

    def _with_channels(self, change: Callable[[int], int]) -> "ObservationShape":
        """The shape with other numbers of channels."""
        sizes = {name: (h, w, change(channels)) for name, (h, w, channels) in self.pictures().items()}
        further = tuple((name, sizes[name]) for name, _ in self.cameras)
        return self._replace(image=sizes.get(self.first), cameras=further)


def each(images: Images, change: Callable[[Tensor], Tensor]) -> Images:
    """What `change` makes of every camera's images."""
    return tuple(map(change, images)) if isinstance(images, tuple) else change(images)


def by_camera(images: Images) -> tuple[Tensor, ...]:
    """The images of each camera, also where there is only one."""
    return images if isinstance(images, tuple) else (images,)


def channels_first(cameras: Sequence[Tensor]) -> Images | None:
    """Images (B, H, W, C) of each camera as views (B, C, H, W), in which convolutions are fastest.

    None without cameras.
    """
    seen = tuple(images.permute(0, 3, 1, 2) for images in cameras)
    return seen if len(seen) > 1 else seen[0] if seen else None


def _size(value: Any) -> Size:
    height, width, channels = value
    return int(height), int(width), int(channels)


class Encoder(nn.Module):
    """Images (B, C, H, W) as uint8, or floats in [0, 1], and pose (B, P) -> features (B, F).

    Several cameras have convolutions of their own, or share them; what these make of all cameras enters one
    bottleneck. Without images the features are the standardised pose itself.
    """

    proprio_mean: Tensor
    proprio_scale: Tensor

    def __init__(self, shape: ObservationShape, config: NetworkConfig) -> None:
        super().__init__()
        self.uses_proprio = config.use_proprio or shape.image is None
        self.register_buffer("proprio_mean", torch.zeros(shape.proprio))
        self.register_buffer("proprio_scale", torch.ones(shape.proprio))
        self.convolutions: nn.Module | None = None
        self.further: nn.ModuleList | None = None
        self.bottleneck: nn.Module | None = None
        self.embedding: nn.Module | None = None
        self.features = 0
        if shape.image is not None:
            sizes = shape.pictures()
            self.convolutions, *further = _convolutions(sizes, config)
            if further:
                self.further = nn.ModuleList(further)
            with torch.no_grad():
                blank = tuple(torch.zeros(1, channels, *size) for *size, channels in sizes.values())
                self.features = self._seen(blank).shape[1]
            if config.bottleneck:
                self.bottleneck = _squash(self.features, config.bottleneck)
                self.features = config.bottleneck
        if self.uses_proprio:
            if shape.proprio == 0:
                raise CogError("the data contain neither images nor a pose to learn from")
            if shape.image is not None and config.proprio_features:
                self.embedding = _squash(shape.proprio, config.proprio_features)
                self.features += config.proprio_features
            else:
                self.features += shape.proprio

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Set the pose's mean and standard deviation in the data, (P,) each."""
        self.proprio_mean.copy_(mean)
        self.proprio_scale.copy_(scale)

    def forward(self, images: Images | None, proprio: Tensor | None) -> Tensor:
        parts = []
        if self.convolutions is not None:
            if images is None:
                raise CogError("this network was built for images; none were given")
            parts.append(self._seen(images))
            if self.bottleneck is not None:
                parts[0] = self.bottleneck(parts[0])
        if self.uses_proprio:
            if proprio is None:
                raise CogError("this network was built for the arm's pose; none was given")
            pose = (proprio - self.proprio_mean) / self.proprio_scale
            parts.append(pose if self.embedding is None else self.embedding(pose))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _seen(self, images: Images) -> Tensor:
        """What the convolutions make of all cameras' images, side by side: (B, F) before the bottleneck."""
        assert self.convolutions is not None
        cameras = by_camera(images)
        networks = (self.convolutions, *(self.further or [self.convolutions] * (len(cameras) - 1)))
        dtype = self.proprio_mean.dtype
        seen = [one(_centred(given, dtype)) for one, given in zip(networks, cameras, strict=True)]
        return seen[0] if len(seen) == 1 else torch.cat(seen, 1)


def _convolutions(sizes: Mapping[str, Size], config: NetworkConfig) -> list[nn.Module]:
    """The convolutions of each camera, or the only ones that all share.

    Raises:
        CogError: a camera's images are too small.
        UsageError: cameras of other numbers of channels cannot share them.
    """
    for name, (height, width, _) in sizes.items():
        if min(height, width) < SMALLEST_IMAGE:
            raise CogError(
                f"the images of camera '{name}' are {height}x{width} pixels; the network needs at least "
                f"{SMALLEST_IMAGE}x{SMALLEST_IMAGE}",
                remedy="collect or import larger ones",
            )
    shared = config.camera_encoders == "shared"
    if shared and len({channels for _, _, channels in sizes.values()}) > 1:
        told = ", ".join(f"{name} {'x'.join(map(str, size))}" for name, size in sizes.items())
        raise UsageError(
            f"cameras in colour and in grey cannot share convolutions: {told}",
            remedy="give each its own: --network.camera-encoders each",
        )
    largest = max(max(height, width) for height, width, _ in sizes.values())
    built = []
    for height, width, channels in list(sizes.values())[: 1 if shared else None]:
        network = convolutions(config.encoder, channels, largest if shared else max(height, width))
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        built.append(network)
    return built


def _squash(width_in: int, width_out: int) -> nn.Sequential:
    """A linear layer whose output is normalised and bounded."""
    return nn.Sequential(nn.Linear(width_in, width_out), nn.LayerNorm(width_out), nn.Tanh())


def _centred(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes or [0, 1] floats as floats in [-0.5, 0.5]."""
    if images.dtype == torch.uint8:
        return images.to(dtype).mul_(1 / 255).sub_(0.5)
    return images - 0.5
