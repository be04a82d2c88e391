"""Tests of importers, exporters and the writer."""
