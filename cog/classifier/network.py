"""Classifier: a small network that says whether a frame shows success; stored in a folder, used as a rule.

folder/
  classifier.safetensors   the network's weights
  classifier.json          shapes, threshold, training data, precision and recall; written last
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cog.classifier.sight import Sight
from cog.core.configs import from_json, to_json
from cog.core.files import (
    code_version,
    hash_file,
    hash_json,
    read_json,
    read_remedy,
    write_atomically,
    write_json,
)
from cog.core.options import usable_path
from cog.errors import CogError, UsageError
from cog.networks.config import NetworkConfig
from cog.networks.encoder import Encoder, Images, ObservationShape
from cog.networks.precision import one_thread

FORMAT = 1
WEIGHTS, FACTS = "classifier.safetensors", "classifier.json"
HIDDEN = 128  # width of the layer between features and score
CHUNK = 512  # frames judged at once


class SuccessNetwork(nn.Module):
    """Images (B, C, H, W) of each camera and poses (B, P) -> scores (B,): logits of success."""

    def __init__(self, shape: ObservationShape, config: NetworkConfig) -> None:
        super().__init__()
        self.shape, self.config = shape, config
        self.encoder = Encoder(shape, config)
        self.head = nn.Sequential(nn.Linear(self.encoder.features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, images: Images, proprio: Tensor | None) -> Tensor:
        scores: Tensor = self.head(self.encoder(images, proprio))[:, 0]
        return scores


class Classifier:
    """A classifier as a rule: which steps of an episode led to success."""

    def __init__(self, network: SuccessNetwork, threshold: float, folder: Path, content: str) -> None:
        """`folder` is where it was read from, `content` the hash of its files."""
        self.network = network.eval().requires_grad_(False)
        self.threshold = threshold
        self.folder = folder
        self.hash = content

    def __call__(self, episode: Any) -> np.ndarray:
        """Whether the frame after each step shows success, (T,) bool, of a `cog.datasets.episode.Episode`.

        Raises:
            CogError: its images or poses are missing or of another shape.
        """
        shape, history = self.network.shape.single(), self.network.shape.history
        given: dict[str, np.ndarray | None] = {**episode.pictures(), "poses": episode.proprio}
        given["actions"] = episode.actions
        required: dict[str, tuple[int, ...]] = dict(shape.pictures())
        if self.network.encoder.uses_proprio:
            required["poses"] = (shape.proprio,)
        if history is not None and history.poses > 1:
            required["actions"] = (history.actions,)
        for name, size in required.items():
            found = given.get(name)
            if found is None or found.shape[1:] != size:
                what = "none" if found is None else f"{found.shape[1:]}"
                word = "images" if name == "image" else f"images of '{name}'"
                word = name if name in ("poses", "actions") else word
                raise CogError(
                    f"the classifier needs {word} of {size}; the data have {what}", where=self.folder
                )
        poses = episode.proprio[1:] if "poses" in required else None
        images = {name: given[name][1:] for name in shape.pictures()}  # type: ignore[index]
        return np.asarray(judge(self.network, images, poses, episode.actions) > self.threshold)


def judge(
    network: SuccessNetwork,
    images: Mapping[str, np.ndarray],
    proprio: np.ndarray | None,
    actions: np.ndarray | None = None,
    starts: Sequence[int] | np.ndarray = (0,),
) -> np.ndarray:
    """Scores (F,) float32 of each camera's images (F, H, W, C) uint8 and poses (F, P) float32.

    A network with a history looks at the actions (F, A) that led to the frames as well, and needs the first
    frame of each episode.

    Uses one thread, so that a view gives the same rewards whatever the settings of the run that loads it.
    """
    scores = []
    sight = Sight(network.shape, images, proprio, actions, starts)
    with torch.no_grad(), one_thread():
        for start in range(0, sight.count, CHUNK):
            scores.append(network(*sight(slice(start, start + CHUNK))))
    return np.asarray(torch.cat(scores).numpy())


def save(folder: Path, network: SuccessNetwork, threshold: float, facts: Mapping[str, Any]) -> None:
    """Write a classifier; `facts` are JSON values about its training data and its performance.

    Raises:
        CogError: it could not be written.
    """
    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    write_atomically(folder / WEIGHTS, lambda path: save_file(tensors, path))
    value = {
        "format": FORMAT,
        "kind": "classifier",
        "code_version": code_version(),
        "torch": torch.__version__,
        **network.shape.to_json(),
        "network": to_json(network.config),
        "threshold": threshold,
        **facts,
        "hashes": {WEIGHTS: hash_file(folder / WEIGHTS)},
    }
    write_json(folder / FACTS, value | {"hash": hash_json(value)})


def open_classifier(folder: Path) -> Classifier:
    """Open and verify the classifier in a folder.

    Raises:
        CogError: naming the file that is missing, damaged or not a classifier.
    """
    folder = usable_path(folder)
    path = folder / FACTS
    value = read_json(path, "a classifier (made by cog classify)")
    remedy = "train it again with cog classify, or restore the file from a copy"
    if value.get("format") != FORMAT or value.get("kind") != "classifier":
        raise CogError(
            f"field 'format': must be of kind 'classifier' and format {FORMAT}", where=path, remedy=remedy
        )
    content = value.pop("hash", None)
    if content != hash_json(value):
        raise CogError("field 'hash': the content does not match it", where=path, remedy=remedy)
    weights = folder / WEIGHTS
    try:
        if hash_file(weights) != value["hashes"][WEIGHTS]:
            raise CogError(f"the content does not match its hash in {FACTS}", where=weights, remedy=remedy)
        shape = ObservationShape.from_json(value)
        network = SuccessNetwork(shape, from_json(value["network"], NetworkConfig, f"{path}: network"))
        network.load_state_dict(load_file(weights))
        threshold = float(value["threshold"])
    except UsageError as error:
        raise CogError(str(error)) from error
    except (OSError, SafetensorError) as error:
        raise CogError(
            f"cannot be read ({error})", where=weights, remedy=read_remedy(error, remedy)
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CogError(f"is incomplete or malformed ({error!r})", where=path, remedy=remedy) from error
    if not math.isfinite(threshold):
        raise CogError("field 'threshold': must be finite", where=path, remedy=remedy)
    return Classifier(network, threshold, folder, str(content))
