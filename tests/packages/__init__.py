"""Tests against the packages that other tools are: `make packages` builds their environments and runs them."""
