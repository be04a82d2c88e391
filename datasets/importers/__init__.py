"""Importers: data that other packages wrote, as datasets.

Read `source` (what an importer gives), `run` (what is done with it) and `hdf5`, `pictures`, `video`;
every other module is a format.
"""
