"""Evaluation: success rates of a policy from named starts, with intervals.

Read `config`, `evaluate`, `rollout` (episodes in batches), `memory` (their last frames), `policy` (the actor
that is deployed), `check`, `prediction` (returns as the critics predict them), `result` (the files) and
`intervals`.
"""
