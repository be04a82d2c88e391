"""Extrapolation error: an agent learns from another's data, which it can never correct by acting.

Read `config` (what can be asked), `learning` (the three experiments), `run` (which jobs, and in what order),
`summary` (what the figures say).
"""
