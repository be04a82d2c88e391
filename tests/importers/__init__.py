"""Importers of formats, one file or two each, and the readers under them."""
