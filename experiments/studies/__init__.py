"""Studies: small experiments and pictures that explain why a method works or fails, each of them a command.

`meters` draws the failure meters of one run.
"""
