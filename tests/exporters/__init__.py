"""Tests of what other packages find in an export."""
