"""Importers of formats that are written here from their definition, and the readers under them."""
