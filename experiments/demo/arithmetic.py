"""Which arithmetic is faster on this processor: not all are faster in bfloat16."""

import time
from typing import Literal

import torch
from torch import nn

from cog.networks.images.convolutions import convolutions
from cog.networks.precision import one_thread

IMAGES, SIDE = 64, 48
ROUNDS = 5
WORTH = 1.1
"""What bfloat16 must gain to be chosen: its rounding is coarser."""


def bfloat16_gain(rounds: int = ROUNDS) -> float:
    """How many times as fast as in float32 a small network learns in bfloat16 on this CPU, on one thread.

    Both take turns, so that other load hits both, and the fastest turn of each counts.
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        network = nn.Sequential(convolutions("patch", 3, SIDE), nn.Linear(16 * 12 * 12, 256))
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.rand(IMAGES, SIDE, SIDE, 3).permute(0, 3, 1, 2)
        fastest = {False: float("inf"), True: float("inf")}
        for _ in range(1 + rounds):  # the first turn chooses algorithms
            for reduced in fastest:
                began = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                    made = network(images)
                made.float().sum().backward()
                fastest[reduced] = min(fastest[reduced], time.perf_counter() - began)
    return fastest[False] / fastest[True]


def faster_precision(gain: float) -> Literal["bfloat16", "float32"]:
    """The precision to train in where bfloat16 is `gain` times as fast as float32."""
    return "bfloat16" if gain >= WORTH else "float32"
