"""Gymnasium environments on PyBullet: scenes, starts and scripted behaviours."""

import gymnasium

DRAWER_GRASP = "cog/DrawerGrasp-v0"
EPISODE_STEPS = 50  # the paper's horizon for drawer starts

if DRAWER_GRASP not in gymnasium.registry:
    gymnasium.register(
        id=DRAWER_GRASP,
        entry_point="cog.envs.drawer_grasp:DrawerGrasp",
        max_episode_steps=EPISODE_STEPS,
    )

__all__ = ["DRAWER_GRASP", "EPISODE_STEPS"]
