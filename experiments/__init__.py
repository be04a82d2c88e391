"""Experiments: commands that run the whole chain and measure its parts."""
