"""Training: from a configuration to checkpoints that resume bit for bit.

Read `config` and `presets`, `train` (the loop), `checkpoint` (and `another`, what serves instead), `metrics`,
then `execution` (compiled, graphed), `seeds` (several at once), `guard` (detects divergence) and `meters`
(says why a method fails).
"""
