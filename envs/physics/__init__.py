"""What versions of the scenes differ in: `settings` lists it, one frozen dataclass a version.

`kinematics` turns poses into joint angles, `motion` takes the arm there within its motors' forces,
`placement` keeps what is laid out apart.
"""
