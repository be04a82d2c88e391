#!/usr/bin/env bash
# torch 2.13.0 with onnxruntime 1.32.0: a policy with a memory is exported without an error, and without the memory.
#
# One would guess: a policy that keeps its last frames or the hidden state of a GRU in itself is refused by
# `torch.onnx.export`, or becomes a model that has the memory as a further input and output.
#
# What happens: the memory is written into the model as a constant, what would be stored is dropped, and the model has
# the observation as its only input and the action as its only output. It acts at each step as at a first one. A
# comparison of one step, as usual after an export, finds no difference. A buffer, assigned or filled in place, is lost
# without a word; of an attribute torch warns, and advises to make it a buffer.
#
# Output seen, first number of the action in three steps of the same observation:
#     frames, a buffer assigned: torch -0.438 -1.074 -0.858, onnx -0.438 -0.438 -0.438
#     GRU, a buffer filled in place: torch 0.210 0.298 0.343, onnx 0.210 0.210 0.210
#     GRU, an attribute: torch -0.194 -0.309 -0.375, onnx -0.194 -0.194 -0.194

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
install() { venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
install torch==2.13.0
install numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2>errors <<'PYTHON' || { cat errors; exit 1; }
import copy

import numpy as np
import onnxruntime
import torch
from torch import nn


class Frames(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("frames", torch.zeros(1, 3, 2))
        self.out = nn.Linear(6, 2)

    def forward(self, observation):
        self.frames = torch.cat([self.frames[:, 1:], observation[:, None]], 1)
        return self.out(self.frames.flatten(1))


class Buffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(2, 2)
        self.register_buffer("hidden", torch.zeros(1, 2))

    def forward(self, observation):
        self.hidden.copy_(self.cell(observation, self.hidden))
        return self.hidden * 1.0


class Attribute(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(2, 2)
        self.hidden = torch.zeros(1, 2)

    def forward(self, observation):
        self.hidden = self.cell(observation, self.hidden)
        return self.hidden


observation = torch.ones(1, 2)
torch.manual_seed(0)
names = {
    Frames: "frames, a buffer assigned",
    Buffer: "GRU, a buffer filled in place",
    Attribute: "GRU, an attribute",
}
for kind, name in names.items():
    policy = kind().eval()
    with torch.no_grad():
        torch.onnx.export(copy.deepcopy(policy), (observation,), "policy.onnx", dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession("policy.onnx", providers=["CPUExecutionProvider"])
        assert len(session.get_inputs()) == len(session.get_outputs()) == 1
        feed = {session.get_inputs()[0].name: observation.numpy()}
        ours = np.array([policy(observation)[0].tolist() for _ in range(3)])
    theirs = np.array([session.run(None, feed)[0][0] for _ in range(3)])
    said = [" ".join(f"{number:.3f}" for number in steps[:, 0]) for steps in (ours, theirs)]
    print(f"{name}: torch {said[0]}, onnx {said[1]}")
    assert np.allclose(ours[0], theirs[0], atol=1e-6)
    assert np.array_equal(theirs[0], theirs[1]) and np.array_equal(theirs[0], theirs[2])
    assert np.abs(ours[2] - theirs[2]).max() > 0.05
PYTHON
