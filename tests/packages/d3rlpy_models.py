"""d3rlpy's side of comparisons: its algorithms with the settings and networks of a run of cog.

`MATCHED` pairs the settings of both, one by one. Shapes: B transitions, F features, A action dimensions.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Setting(NamedTuple):
    """One hyper-parameter and its name in either package; `None` where a package has no such option."""

    value: Any
    ours: str | None
    theirs: str | None


class Matched(NamedTuple):
    """One algorithm in both packages."""

    config: str
    """Name of d3rlpy's configuration."""
    settings: Sequence[Setting]
    """All that is set; what is not has the same default or no counterpart."""
    critics: int = 2
    """Q functions of either."""
    encoders: Sequence[str] = ("actor", "critic")
    """Networks of d3rlpy that are given an encoder."""


BASE = (
    Setting(0.99, "discount", "gamma"),
    Setting(0.005, "target_rate", "tau"),
    Setting(3e-4, "critic_lr", "critic_learning_rate"),
    Setting(3e-4, "actor_lr", "actor_learning_rate"),
)
SOFT = (
    Setting(3e-4, "temperature_lr", "temp_learning_rate"),
    Setting(1.0, "initial_temperature", "initial_temperature"),
)
SMOOTHED = (
    Setting(2, "actor_every", "update_actor_interval"),
    Setting(0.2, "smoothing", "target_smoothing_sigma"),
    Setting(0.5, "smoothing_limit", "target_smoothing_clip"),
)
STEPS = Setting(1, "steps", None)  # d3rlpy leaves n-step returns to the buffer
VAE = (
    Setting(0.75, "min_weight", "lam"),
    Setting(1e-3, "vae_lr", "imitator_learning_rate"),
    Setting((256, 256), "vae_widths", None),  # of d3rlpy's encoders, see `build`
)
MATCHED: Mapping[str, Matched] = {
    "bcq": Matched(
        "BCQConfig",
        (
            *BASE,
            STEPS,
            *VAE,
            Setting(10, "target_actions", "n_action_samples"),
            Setting(10, "acting_draws", None),  # as many as in targets in d3rlpy
            Setting(0.05, "perturbation", "action_flexibility"),
            Setting(0.5, "kl_weight", "beta"),
        ),
        encoders=("actor", "critic", "imitator"),
    ),
    "bear": Matched(
        "BEARConfig",
        (
            *BASE,
            STEPS,
            *VAE,
            Setting(10, "target_actions", "n_target_samples"),
            Setting(10, "acting_draws", "n_action_samples"),
            Setting(0.5, "kl_weight", "vae_kl_weight"),
            Setting("laplacian", "kernel", "mmd_kernel"),
            Setting(20.0, "kernel_width", "mmd_sigma"),
            Setting(4, "mmd_samples", "n_mmd_action_samples"),
            Setting(0.05, "mmd_threshold", "alpha_threshold"),
            Setting(1e-3, "multiplier_lr", "alpha_learning_rate"),
            Setting(200, "warm_up_updates", "warmup_steps"),
            Setting(0.0, None, "temp_learning_rate"),  # no entropy, as in the paper
            Setting(1e-20, None, "initial_temperature"),
        ),
        encoders=("actor", "critic", "imitator"),
    ),
    "cql": Matched(
        "CQLConfig",
        (
            *BASE,
            *SOFT,
            STEPS,
            Setting(1.0, "conservative_weight", "conservative_weight"),
            Setting(2, "sampled_actions", "n_action_samples"),
            Setting(0.0, None, "alpha_learning_rate"),  # no Lagrange form
            Setting(0.0, "bc_weight", None),
            Setting(False, "clip_targets", None),
        ),
    ),
    "iql": Matched(
        "IQLConfig",
        (
            *BASE,
            STEPS,
            Setting(0.7, "expectile", "expectile"),
            Setting(3.0, "beta", "weight_temp"),
            Setting(100.0, "weight_limit", "max_weight"),
        ),
        encoders=("actor", "critic", "value"),
    ),
    "td3_bc": Matched("TD3PlusBCConfig", (*BASE, *SMOOTHED, Setting(2.5, "weight", "alpha"))),
    "ddpg": Matched("DDPGConfig", (*BASE, STEPS), critics=1),
    "td3": Matched("TD3Config", (*BASE, STEPS, *SMOOTHED)),
    "sac": Matched("SACConfig", (*BASE, *SOFT)),
}
"""Every algorithm that both packages have, by cog's name."""


def ours(name: str, changes: Mapping[str, Any] = {}) -> dict[str, Any]:
    """The fields of cog's configuration; `changes` go by cog's names."""
    settings = MATCHED[name].settings
    return {one.ours: changes.get(one.ours, one.value) for one in settings if one.ours}


def theirs(name: str, changes: Mapping[str, Any] = {}) -> dict[str, Any]:
    """The options of d3rlpy's configuration; `changes` go by cog's names."""
    return {one.theirs: changes.get(str(one.ours), one.value) for one in MATCHED[name].settings if one.theirs}


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

    It never samples the last step of such an episode. One more step is appended, so that this is the one.
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
