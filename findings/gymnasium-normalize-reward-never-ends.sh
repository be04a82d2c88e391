#!/usr/bin/env bash
# gymnasium 1.4.0: `NormalizeReward` does not end returns where episodes end, and so scales rewards by a wrong number.
#
# One would guess: rewards are divided by the standard deviation of the discounted returns so far, and a return begins
# anew with each episode.
#
# What happens: nothing begins anew at a reset. An episode cut off by its time limit is continued by the next one, so
# that returns grow towards the reward of an endless episode and stay there: their standard deviation falls with one
# over the root of the number of steps, and rewards are scaled ever larger, without bound. At a terminal step the
# return of the episode is replaced by the last reward alone, before it is counted, and that reward is carried into
# the next episode. A reward of 1 for success, 0 before, in episodes of 10 steps, becomes 34 instead of 3.3. Only a
# terminal episode with the same reward at each step comes out right.
#
# Output seen, each for 100, 1,000 and 10,000 episodes of 10 steps, the last reward as it comes out of the wrapper:
#     1 a step, terminal: 0.37 0.37 0.37, by the definition 0.37
#     1 a step, cut off: 0.05 0.14 0.45, by the definition 0.37
#     1 at the end, terminal: 10.6 25.1 34.4, by the definition 3.3
#     1 at the end, cut off: 0.48 1.28 2.70, by the definition 3.3

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install gymnasium==1.4.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import gymnasium
import numpy as np
from gymnasium.wrappers import NormalizeReward

STEPS = 10
GAMMA = 0.99


class Steps(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, sparse, terminal):
        self.sparse, self.terminal = sparse, terminal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.done = 0
        return np.zeros(1, "float32"), {}

    def step(self, action):
        self.done += 1
        end = self.done == STEPS
        reward = float(end or not self.sparse)
        return np.zeros(1, "float32"), reward, end and self.terminal, end and not self.terminal, {}


def scaled(sparse, terminal, episodes):
    env = NormalizeReward(Steps(sparse, terminal), gamma=GAMMA)
    for _ in range(episodes):
        env.reset()
        for _ in range(STEPS):
            _, reward, terminated, truncated, _ = env.step(np.zeros(1, "float32"))
        assert terminated == terminal and truncated != terminal
    return float(reward)


def defined(sparse):
    returns = [0.0]
    for step in range(1, STEPS + 1):
        returns.append(GAMMA * returns[-1] + float(step == STEPS or not sparse))
    return 1 / np.std(returns[1:])


seen = {}
for sparse in (False, True):
    for terminal in (True, False):
        seen[sparse, terminal] = rewards = [scaled(sparse, terminal, episodes) for episodes in (100, 1000, 10000)]
        digits = 1 if sparse and terminal else 2
        print(
            f"1 {'at the end' if sparse else 'a step'}, {'terminal' if terminal else 'cut off'}: "
            f"{' '.join(f'{reward:.{digits}f}' for reward in rewards)}, "
            f"by the definition {defined(sparse):.{1 if sparse else 2}f}"
        )
assert np.allclose(seen[False, True], defined(False), rtol=0.001)
assert np.allclose(seen[False, False], [0.0503, 0.1439, 0.4510], rtol=0.01)
assert np.allclose(seen[True, True], [10.59, 25.13, 34.42], rtol=0.01)
assert np.allclose(seen[True, False], [0.477, 1.280, 2.702], rtol=0.01)
PYTHON
