"""Imports of what other packages write, checked against what they themselves read."""
