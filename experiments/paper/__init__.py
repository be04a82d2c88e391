"""The paper: every row of its table, as recipes of data and methods.

Read `config`, `reproduce`, `graph` (rows to jobs), `arms`, `methods` (what they train with), `recipes`,
`ablations`, `results`, `report`, and `reported` (the paper's own figures).
"""
