"""Import: data that other packages wrote, as datasets. `run` takes any `source`; the others are sources."""
