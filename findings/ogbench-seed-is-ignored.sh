#!/usr/bin/env bash
# ogbench 1.2.2: `reset(seed=...)` fixes neither the task nor, in the mazes, the start.
#
# One would guess: two resets with the same seed begin the same episode, as Gymnasium asks of an environment.
#
# What happens: the task, where none is named, and the noise on start and goal come from NumPy's global generator, and
# the random steps that settle the body before the goal's observation is taken come from the action space's; the seed
# reaches neither. Two policies evaluated on the same list of seeds have other tasks and starts, the starts up to a
# quarter of a cell off in each direction, and no run can be repeated. In cube-single the task differs as well; with
# the task named, seeds work there. Seeding NumPy globally beside the environment fixes PointMaze.
#
# Output seen, five resets with seed 3 each:
#     pointmaze-medium-v0: 5 different tasks; with the task named 5 different starts, up to 0.99 apart
#     antmaze-medium-v0: 3 different tasks; with the task named 5 different starts, up to 1.85 apart
#     cube-single-v0: 5 different tasks; with the task named 1 different starts, up to 0.00 apart
#     pointmaze-medium-v0, NumPy's global generator seeded: 1 start

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

np.random.seed(0)


def resets(env, **options):
    for _ in range(5):
        observation, _ = env.reset(seed=3, options=options)
        yield env.unwrapped.cur_task_id, observation


def look(name):
    env = gymnasium.make(name)
    tasks = {int(task) for task, _ in resets(env)}
    starts = np.array([observation[:2] for _, observation in resets(env, task_id=1)])
    different = len({tuple(start) for start in starts})
    apart = np.abs(starts - starts[:, None]).max()
    print(
        f"{name}: {len(tasks)} different tasks; "
        f"with the task named {different} different starts, up to {apart:.2f} apart"
    )
    return len(tasks), different, apart


for name in ("pointmaze-medium-v0", "antmaze-medium-v0"):
    tasks, starts, apart = look(name)
    assert tasks > 1 and starts == 5 and 0.3 < apart < 2.5
tasks, *starts = look("cube-single-v0")
assert tasks > 1 and starts == [1, 0.0]
env = gymnasium.make("pointmaze-medium-v0")
starts = set()
for _ in range(5):
    np.random.seed(3)
    starts.add(tuple(env.reset(seed=3)[0]))
print(f"pointmaze-medium-v0, NumPy's global generator seeded: {len(starts)} start")
assert len(starts) == 1
PYTHON
