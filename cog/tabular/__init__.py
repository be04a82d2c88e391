"""Tables: problems small enough to solve exactly, which show what stitching is.

Read `chain` (two trajectories, neither of which leads from A to C), then `iteration` (its exact values). The
tests compare every algorithm of `cog.algorithms` with them.
"""
