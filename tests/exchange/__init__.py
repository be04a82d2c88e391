"""Tests of what imports share, of the writer, and of the way there and back."""
