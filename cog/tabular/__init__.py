"""Tables: problems small enough to solve exactly, which show what stitching is.

Read `chain` (two trajectories, neither of which leads from A to C), then `iteration` (its exact values) and
`methods` (what other methods make of the same data, one file each); `grid` is a larger such problem. The
tests train every algorithm of `cog.algorithms` on the chain.
"""
