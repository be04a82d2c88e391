"""Toy scenes, policies and datasets that tests share."""
