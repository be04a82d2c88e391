"""What an encoder costs: its weights, and time and memory of one pass, measured before training."""

import time
from typing import NamedTuple

import torch
from torch import Tensor

from cog.networks.encoder import Encoder, ObservationShape, channels_first
from cog.training.config import TrainConfig


class EncoderCost(NamedTuple):
    """One encoder of a run; `network.sharing` decides how many there are."""

    cameras: tuple[str, ...]
    """Name and size of each camera."""
    features: int
    """Numbers that it makes of a state."""
    weights: int
    """Number of its weights."""
    seconds: float
    """Of one forward and backward pass over a batch (s)."""
    kept: int
    """Bytes of a batch that the forward pass keeps for the backward pass."""

    def __str__(self) -> str:
        seen = " and ".join(self.cameras)
        return (
            f"an encoder of {seen}: {self.weights / 1e6:.2g} million weights, {self.features} features; a "
            f"pass over a batch takes {1000 * self.seconds:.3g} ms and {self.kept / 1e6:.3g} MB"
        )


def encoder_cost(shape: ObservationShape, config: TrainConfig) -> EncoderCost:
    """Measure the encoder of `config` on blank images; no generator of random numbers moves."""
    device = torch.device(config.device)
    with torch.random.fork_rng(devices=[]):
        encoder = Encoder(shape, config.network).to(device)
    weights = {weight.untyped_storage().data_ptr() for weight in encoder.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def run(rows: int) -> float:
        sizes = shape.pictures().values()
        images = channels_first(
            [torch.zeros(rows, *size, dtype=torch.uint8, device=device) for size in sizes]
        )
        pose = torch.zeros(rows, shape.proprio, device=device)
        began = _now(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            features = encoder(images, pose)
        features.float().sum().backward()
        return _now(device) - began

    run(2)  # the first pass chooses algorithms
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        seconds = run(config.batch_size)
    return EncoderCost(
        tuple(f"'{name}' {'x'.join(map(str, size))}" for name, size in shape.pictures().items()),
        encoder.features,
        sum(weight.numel() for weight in encoder.parameters()),
        seconds,
        sum(kept.values()),
    )


def _now(device: torch.device) -> float:
    """Seconds, once everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
