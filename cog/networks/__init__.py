"""Networks: what algorithms are built from.

Read `config`, `encoder` (images and pose to features), `distribution` (the policy at a state), `actor`
and `critic`; `augment` shifts images, `precision` exempts the last layers from reduced precision.
"""
