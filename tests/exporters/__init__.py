"""Tests of exports: what another tool reads from them."""
