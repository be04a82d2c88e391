"""The hyper-parameters of every algorithm that cog and d3rlpy both have, paired one by one.

d3rlpy itself is not imported here, so that a process of cog's side stays without it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


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
    Setting(0.05, "initial_temperature", "initial_temperature"),
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
            Setting("gaussian", "policy", None),  # the only one of d3rlpy
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
