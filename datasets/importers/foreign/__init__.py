"""Files of other packages that are not HDF5, read as plain numbers; no file can name code to run.

Read `npz` (compressed arrays, some rows at a time), `pickled` (object arrays) and `chunks` (Zarr stores).
"""
