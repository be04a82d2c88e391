"""Files of other packages, read as plain numbers; no file can name code to run.

Read `hdf5`, `npz` (compressed arrays, some rows at a time), `pickled` (object arrays), `chunks` (Zarr) and
`observed` (which observations are taken).
"""
