"""Experiments: commands that run the whole chain and measure its parts.

Read `demo` (the chain once), `paper` (the paper's table), `jobs` (what both run on), `tables`, `pages`,
`bench` and `studies` (questions about methods); `script` and `machine` are small helpers, and the other files
here only keep documented names.
"""
