"""All numbers of the recipes: sizes of the data, shares, reward, and the settings of training."""

from collections.abc import Mapping
from typing import Any

from cog.evaluation.config import Acting

TASK_EPISODES = {"closed": 2000, "blocked_drawer": 1000, "blocked_object": 1000, "pick_place": 1000}
"""Episodes of task data of each row; drawer rows with as many share one set."""
PRIOR_EPISODES = {"closed": 1500, "blocked_drawer": 2500, "blocked_object": 3000, "pick_place": 3000}
"""Episodes of prior data of each row."""
WANDER_SHARE = 0.1
"""Share of prior episodes that wander to no purpose."""
AIM_ERROR = 0.015
"""Standard deviation (m) of the first aim of the task's grasps, so that the data hold recoveries."""
NOISE = 0.1
"""Standard deviation of the noise on every component of every action of the data."""
REWARD = 10.0
"""Reward of the step on which the task succeeds."""
PRIOR_SHARE = 0.5
"""Share of prior data in each batch of an arm that learns from both."""

ACTING: Mapping[str, Acting] = {"critics": "mode", "clone": "mode"}
"""How policies act in evaluation, of algorithms with critics and without, each as it does best."""
WAVERING: Mapping[str, Acting] = {"critics": "critic", "clone": "sample"}
"""The same where the prior data turn round on every second step: the mode of their imitation stands still,
and that of a policy that learnt from them stays where the fingers press on something."""
DRAWN: Mapping[str, Acting] = {"critics": "mode", "clone": "sample"}
"""The same as the reference lets them act: by their mode, and clones by draws."""
CANDIDATES = 3
"""Draws among which, and the mode, critics choose."""
SWITCHES: Mapping[str, Any] = {"network": {"switches": 2}}
"""The gripper and the return to neutral: a policy decides them, a mean between the two would do neither."""
IMAGE: Mapping[str, Any] = {"updates": 10_000, "precision": "bfloat16", **SWITCHES}
"""Training from images: changes of the `cpu` preset, by fields of `TrainConfig`, nested as they are."""
DRAWERS: Mapping[str, Any] = {**IMAGE, "updates": 15_000}
"""The same for the drawer rows, whose chains are longer."""
STATE: Mapping[str, Any] = {"updates": 20_000, "precision": "bfloat16", **SWITCHES}
"""Training from the simulator's state: changes of the `cpu` preset."""
REFERENCE: Mapping[str, Any] = {}
"""Training of `cog_reference`: changes of the `paper` preset."""
REFERENCE_ON_CUDA: Mapping[str, Any] = {"precision": "bfloat16", "compiled": True, "graphed": True}
"""Further changes where it trains on CUDA: a few times as fast."""
