"""Folders: where the folder formats of other packages keep their episodes, and how rows of them are read.

`tables` reads Parquet and Arrow, `video` reads pictures; `lerobot` and `minari` know the layouts, each
version of them.
"""
