#!/usr/bin/env bash
# ogbench 1.2.2: the single-task environments judge a step by the state before it, the others by the state after it.
#
# One would guess: the action that reaches the goal is rewarded, ends the episode and makes it a success, in the
# single-task environment of a maze as in the goal-conditioned one of the same maze.
#
# What happens: in the single-task environments reward, success and end are of the state in which the action is taken.
# The action that reaches the goal has reward -1 and ends nothing; one more step, whatever its action, has 0 and ends
# the episode. An episode that reaches the goal with the last action it is allowed is a failure, where the
# goal-conditioned environment counts a success. (The rewards that OGBench adds to its single-task data are of the
# state before the action, too. Transitions with a reward of one's own, of the state after it, do not fit beside
# them.)
#
# Output seen, the same two actions towards the goal, radius 1, in episodes of at most two steps:
#     pointmaze-medium-v0: distance 1.05, reward 0, success 0 | distance 0.85, reward 1, success 1, terminated
#     pointmaze-medium-singletask-task1-v0: distance 1.05, reward -1, success 0 | distance 0.85, reward -1,
#     success 0, truncated
#     data of the same steps: distance 1.05 to 0.85, reward -1, mask 1 | distance 0.85 to 0.65, reward 0, mask 0

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install ogbench==1.2.2 mujoco==3.3.7 dm_control==1.0.34 gymnasium==1.4.0 numpy==2.4.6
MUJOCO_GL=disable venv/bin/python -W ignore - <<'PYTHON'
import gymnasium
import numpy as np
import ogbench  # registers the environments


def drive(name):
    env = gymnasium.make(name, max_episode_steps=2)
    env.reset(options={} if "task" in name else {"task_id": 1})
    maze = env.unwrapped
    goal = np.array(maze.cur_goal_xy)
    maze.set_xy(goal - (1.25, 0.0))
    steps = []
    for _ in range(2):
        _, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0]))
        distance = float(np.linalg.norm(maze.get_xy() - goal))
        steps.append((round(distance, 2), reward, info["success"], terminated, truncated))
    said = [
        f"distance {distance}, reward {reward:g}, success {success:g}"
        + (", terminated" if terminated else ", truncated" if truncated else "")
        for distance, reward, success, terminated, truncated in steps
    ]
    print(f"{name}: {' | '.join(said)}")
    return steps


assert [one[1:4] for one in drive("pointmaze-medium-v0")] == [(0.0, 0.0, False), (1.0, 1.0, True)]
single = drive("pointmaze-medium-singletask-task1-v0")
assert [one[1:] for one in single] == [(-1.0, 0.0, False, False), (-1.0, 0.0, False, True)]
assert [one[0] for one in single] == [1.05, 0.85]
goal = gymnasium.make("pointmaze-medium-singletask-task1-v0").unwrapped
goal.reset()
places = np.array(goal.cur_goal_xy) - np.array([[1.05, 0.0], [0.85, 0.0], [0.65, 0.0]])
recorded = {
    "observations": places,
    "actions": np.tile([1.0, 0.0], (3, 1)),
    "terminals": np.array([0.0, 0.0, 1.0]),
    "qpos": places,
    "qvel": np.zeros((3, 2)),
}
for name in ("steps.npz", "steps-val.npz"):
    np.savez(name, **recorded)
name = "pointmaze-medium-navigate-singletask-task1-v0"
_, data, _ = ogbench.make_env_and_datasets(name, dataset_path="steps.npz")
assert np.array_equal(data["next_observations"], places[1:].astype("float32"))
rewards, masks = data["rewards"].tolist(), data["masks"].tolist()
print(
    f"data of the same steps: distance 1.05 to 0.85, reward {rewards[0]:g}, mask {masks[0]:g} | "
    f"distance 0.85 to 0.65, reward {rewards[1]:g}, mask {masks[1]:g}"
)
assert rewards == [-1.0, 0.0] and masks == [1.0, 0.0]
PYTHON
