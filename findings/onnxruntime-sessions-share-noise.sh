#!/usr/bin/env bash
# onnxruntime 1.32.0 with torch 2.13.0: all sessions of a stochastic policy in a process draw the same noise.
#
# One would guess: each session draws noise of its own, as each copy of the policy does in torch.
#
# What happens: an exported `randn_like` has no seed, and a node without a seed takes one from a seed of the whole
# process and its place in the graph. Each new session of the same model so begins the same sequence. Robots or
# simulated environments with a session each explore in step, and twenty episodes, each with the policy loaded anew,
# are one episode twenty times: their spread is 0. In torch the copies would differ; between processes the noise does
# differ.
#
# Output seen (the noise is another in each run):
#     one session, 20 draws: spread 0.8
#     20 sessions, a draw each: spread 0.0
#     another process: another draw True

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install torch==2.13.0
install numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2>errors <<'PYTHON' || { cat errors; exit 1; }
import subprocess
import sys

import numpy as np
import onnxruntime
import torch
from torch import nn


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = nn.Linear(3, 2)

    def forward(self, observation):
        mean = self.mean(observation)
        return mean + torch.randn_like(mean)


torch.manual_seed(0)
torch.onnx.export(Policy().eval(), (torch.ones(1, 3),), "policy.onnx", dynamo=True, verbose=False)


def open_session():
    return onnxruntime.InferenceSession("policy.onnx", providers=["CPUExecutionProvider"])


def draw(session):
    return session.run(None, {session.get_inputs()[0].name: np.ones((1, 3), np.float32)})[0]


session = open_session()
one = np.array([draw(session) for _ in range(20)])
each = np.array([draw(open_session()) for _ in range(20)])
print(f"one session, 20 draws: spread {one.std(0).mean():.1f}")
print(f"20 sessions, a draw each: spread {each.std(0).mean():.1f}")
assert one.std(0).min() > 0.4 and np.array_equal(each, np.repeat(one[:1], 20, 0))
code = (
    "import numpy, onnxruntime; s = onnxruntime.InferenceSession('policy.onnx'); "
    "print(s.run(None, {s.get_inputs()[0].name: numpy.ones((1, 3), numpy.float32)})[0][0, 0])"
)
done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
other = abs(float(done.stdout) - float(one[0, 0, 0])) > 1e-6
print(f"another process: another draw {other}")
assert other
PYTHON
