"""Faults at every write (`python -m tests.faults`), damage to every file (`python -m tests.faults.flips`)."""
