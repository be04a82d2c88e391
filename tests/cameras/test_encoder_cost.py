"""A run with images says what its encoder costs before it trains."""

import dataclasses
from pathlib import Path

import torch

from cog.networks.encoder import ObservationShape
from cog.training.encoder_cost import encoder_cost
from cog.training.train import train
from tests.helpers.learner_data import config, noise

ONE = ObservationShape((16, 16, 3), 4)
TWO = ObservationShape((16, 16, 3), 4, (("hand", (16, 16, 3)),))
PATCH = 32 * 3 * 8 * 8 + 32 + 16 * 32 * 3 * 3 + 16
"""Weights of two convolutions with their biases."""


def test_weights_are_those_of_the_layers_and_another_camera_adds_its_own() -> None:
    def weights(shape: ObservationShape, cameras: int) -> int:
        squash = (cameras * 16 * 4 * 4 + 1) * 8 + 2 * 8  # the bottleneck with its normalisation
        return cameras * PATCH + squash + (shape.proprio + 1) * 4 + 2 * 4

    for shape, cameras in ((ONE, 1), (TWO, 2)):
        cost = encoder_cost(shape, config())
        assert cost.weights == weights(shape, cameras)
        assert cost.features == 8 + 4
    assert "'image' 16x16x3 and 'hand' 16x16x3" in str(encoder_cost(TWO, config()))


def test_memory_grows_with_the_batch_and_holds_at_least_its_pictures() -> None:
    small, large = (encoder_cost(ONE, config(batch_size=size)).kept for size in (8, 32))
    assert 3.5 < large / small < 4.5
    assert small >= 8 * 16 * 16 * 3 * 4  # the pictures as floats


def test_measuring_moves_no_generator_and_only_runs_with_images_say_it(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    encoder_cost(TWO, config())
    assert torch.equal(before, torch.get_rng_state())
    for images in (True, False):
        said: list[str] = []
        settings = dataclasses.replace(config(updates=1), out=tmp_path / str(images))
        train(settings, noise(images=images), on_message=said.append)
        assert any("an encoder of 'image' 16x16x3" in line for line in said) == images
