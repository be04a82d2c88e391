"""Teleoperation: people demonstrate with the keyboard.

Read `teleop` (the session), `keyboard` (keys to actions), then `front_ends`, `window` and `terminal`.
"""
