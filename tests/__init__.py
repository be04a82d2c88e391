"""Tests: behaviour against independent truths."""
