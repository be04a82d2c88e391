"""Tables: problems small enough to solve exactly, where it can be seen what stitching is.

Read `chain` (two trajectories, neither of which leads from A to C), then `iteration` (its exact values). The
tests hold every algorithm of `cog.algorithms` against them.
"""
