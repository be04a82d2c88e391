"""Algorithms that learn a model of the dynamics, and their policy from what it predicts: states only.

Read `base` (the two phases and the soft actor-critic that both have), `rollouts`, `losses`, then `mopo` and
`morel`, which differ in the model and in what they make of its uncertainty.
"""
