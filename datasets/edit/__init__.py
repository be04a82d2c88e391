"""Edit: new datasets of some of the episodes of others.

Read `subset` (episodes copied, with where they came from), then `config` and `filter`, and `split`.
"""
