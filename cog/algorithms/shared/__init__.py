"""What algorithms share, none of it an algorithm.

Read `base` (one update, written once), `losses` (equations that several have), `actor_critic` (networks that
most have); `config` holds what their settings have in common.
"""
