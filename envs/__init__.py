"""Gymnasium environments on PyBullet: scenes, their starts, signals, failure stages and scripted behaviours.

`tabletop` is the base of every scene, made of `arm`, `bullet`, `scene` (constants) and `randomise`;
`physics/` says what versions of the scenes differ in. `pick_place`, `drawer_grasp` and `double_drawer` are
the scenes, furnished from `objects` and `cabinet`;
`behaviours/` acts in them. `make` builds any scene, `contract` checks it. To add one, write its file and list
it in `SCENES`.
"""

import gymnasium

DRAWER_GRASP = "cog/DrawerGrasp-v0"
DOUBLE_DRAWER = "cog/DoubleDrawer-v0"
PICK_PLACE = "cog/PickPlace-v0"
DRAWER_GRASP_V1 = "cog/DrawerGrasp-v1"
DOUBLE_DRAWER_V1 = "cog/DoubleDrawer-v1"
PICK_PLACE_V1 = "cog/PickPlace-v1"
SCENES = {
    DRAWER_GRASP: ("cog.envs.drawer_grasp:DrawerGrasp", 50),
    DOUBLE_DRAWER: ("cog.envs.double_drawer:DoubleDrawer", 80),
    PICK_PLACE: ("cog.envs.pick_place:PickPlace", 40),
    DRAWER_GRASP_V1: ("cog.envs.drawer_grasp:DrawerGraspV1", 50),
    DOUBLE_DRAWER_V1: ("cog.envs.double_drawer:DoubleDrawerV1", 80),
    PICK_PLACE_V1: ("cog.envs.pick_place:PickPlaceV1", 40),
}
"""Class of each scene, and its horizon in steps, as in the paper."""

for name, (entry_point, steps) in SCENES.items():
    if name not in gymnasium.registry:
        # Gymnasium's checker would make an environment useless for good whose first reset was refused.
        gymnasium.register(
            id=name, entry_point=entry_point, max_episode_steps=steps, disable_env_checker=True
        )

__all__ = [
    "DOUBLE_DRAWER",
    "DOUBLE_DRAWER_V1",
    "DRAWER_GRASP",
    "DRAWER_GRASP_V1",
    "PICK_PLACE",
    "PICK_PLACE_V1",
    "SCENES",
]
