"""Evaluation: success of a policy from named starts, with its interval.

Read `config`, `evaluate`, `rollout` (episodes side by side), `policy` (what acts), `check`, `result`
(what is written) and `intervals`.
"""
