"""Signals: what the numbers that a scene records mean; NumPy only.

`predicates` says when an object is held or a drawer open, as reward rules use it; `stages` says how far
an episode got, as evaluations report it.
"""
