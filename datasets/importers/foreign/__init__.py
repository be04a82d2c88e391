"""Files of other packages, read as plain numbers; no file can name code to run.

Read `hdf5` and `virtual` (arrays made of others), `npz` (compressed arrays, some rows at a time), `pickled`
(object arrays), `chunks` (Zarr), `observed` (which observations are taken), `cameras` (which cameras, and
what they are called), `actions` (which of them are continuous) and `marks` (which steps are successes).
"""
