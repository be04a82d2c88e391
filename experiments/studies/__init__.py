"""Studies: questions about methods that one command each answers with numbers and pictures.

`extrapolation` repeats three experiments in which an off-policy method fails on another agent's data.
"""
