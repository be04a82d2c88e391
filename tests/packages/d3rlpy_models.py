"""d3rlpy's side of comparisons: its algorithms with the settings, networks and data of a run of cog.

Shapes: B transitions, C channels, P numbers of a state.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import d3rlpy
import numpy as np
import structlog
import torch
from d3rlpy.models.encoders import EncoderFactory
from torch import Tensor, nn

from cog.datasets.episode import Episode
from cog.networks.config import NetworkConfig
from cog.networks.encoder import Encoder, ObservationShape
from cog.networks.trunk import trunk
from tests.packages.d3rlpy_settings import MATCHED, ours, theirs


class Encoded(nn.Module):
    """cog's encoder and hidden layers for d3rlpy: pictures (B, C, H, W) in [0, 255], or states (B, P).

    An action, if the network takes one, joins the features, as in cog and in d3rlpy's own encoders.
    """

    def __init__(
        self, shape: Sequence[int], extra: int, network: NetworkConfig, widths: Sequence[int]
    ) -> None:
        """`extra` numbers join the features before hidden layers of these `widths`."""
        super().__init__()
        self.convolutions, features = None, shape[0]
        if len(shape) == 3:
            channels, height, width = shape
            encoder = Encoder(ObservationShape((height, width, channels), 0), network)
            self.convolutions, features = encoder.convolutions, encoder.features
        self.hidden, _ = trunk(features + extra, widths, network.layer_norm)

    def forward(self, observations: Tensor, extra: Tensor | None = None) -> Tensor:
        features = observations
        if self.convolutions is not None:
            features = self.convolutions(observations / 255 - 0.5).flatten(1)
        hidden: Tensor = self.hidden(features if extra is None else torch.cat([features, extra], 1))
        return hidden


@dataclass()
class EncodedFactory(EncoderFactory):  # type: ignore[misc]
    """Makes `Encoded` of a network's settings, with hidden layers of these widths."""

    network: NetworkConfig
    widths: tuple[int, ...]

    def create(self, observation_shape: Sequence[int]) -> Encoded:
        """For networks that see the observation alone."""
        return Encoded(observation_shape, 0, self.network, self.widths)

    def create_with_action(
        self, observation_shape: Sequence[int], action_size: int, discrete_action: bool = False
    ) -> Encoded:
        """For networks that see an action, too."""
        return Encoded(observation_shape, action_size, self.network, self.widths)

    @staticmethod
    def get_type() -> str:
        """d3rlpy's name of the kind."""
        return "cog"


def build(
    name: str,
    network: NetworkConfig,
    batch_size: int,
    scale: tuple[np.ndarray, np.ndarray] | None = None,
    changes: Mapping[str, Any] = {},
) -> Any:
    """d3rlpy's algorithm with cog's networks; `scale` standardises states by their mean and deviation."""
    matched = MATCHED[name]
    widths = {"actor": network.actor_widths, "imitator": ours(name, changes).get("vae_widths", ())}
    encoders = {
        f"{part}_encoder_factory": EncodedFactory(network, widths.get(part, network.critic_widths))
        for part in matched.encoders
    }
    options = theirs(name, changes) | encoders | {"batch_size": batch_size, "n_critics": matched.critics}
    if scale is not None:
        options["observation_scaler"] = d3rlpy.preprocessing.StandardObservationScaler(*scale)
    config = getattr(d3rlpy.algos, matched.config)(**options)
    return config.create(device="cpu:0")


def quiet() -> None:
    """Let d3rlpy log warnings alone, in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def replay(episodes: Sequence[Episode]) -> Any:
    """All transitions for d3rlpy, which has no place for the state after the last step of an episode cut off.

    It never samples the last step of such an episode, so one more is appended, which is then the last.
    """
    made = []
    for one in episodes:
        assert one.rewards is not None
        observations = one.state if one.images is None else np.moveaxis(one.images, -1, 1)
        actions, rewards = one.actions, one.rewards[:, None]
        if one.terminated:
            observations = observations[:-1]
        else:
            actions, rewards = (np.concatenate([each, each[:1] * 0]) for each in (actions, rewards))
        made.append(d3rlpy.dataset.Episode(observations, actions, rewards, one.terminated))
    return d3rlpy.dataset.ReplayBuffer(d3rlpy.dataset.InfiniteBuffer(), episodes=made)
