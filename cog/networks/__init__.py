"""Networks: what algorithms are built from.

Read `config`, `encoder` (images and pose to features), `history` (of several frames), `distribution` (the
policy at a state), `actor` and `critic`. `value`, `vae`, `perturbation`, `flow`, `cross_entropy`, `best_of`
and `dynamics` are what single algorithms add; `trunk` holds hidden layers, `images` looks at pictures,
`precision` exempts the last layers from reduced precision.
"""
