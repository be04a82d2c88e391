"""Tests against other tools' own packages: `make packages` builds their environments and runs these."""
