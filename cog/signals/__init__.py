"""Signals: what the numbers recorded by a scene mean; NumPy only.

`predicates` says when an object is held or a drawer open: reward rules and scenes use it alike. `stages` says
how far an episode got: scenes declare their stages, evaluations report them. `pictures` says what an image
is, and converts other forms.
"""
