"""Training: from a configuration to checkpoints that resume bit for bit.

Read `config` and `presets`, `train` (the loop), `checkpoint`, `metrics`, then `execution` (compiled,
graphed), `seeds` (several at once) and `guard` (detects divergence).
"""
