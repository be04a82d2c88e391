"""Folders: where the folder formats of other packages keep their episodes, and how rows of them are read.

`tables` reads Parquet and Arrow, `video` films; `lerobot` and `minari` know the layouts, of each version.
"""
