"""Tests of README and docs.

`pages` finds pages and their blocks, `runner` runs them with small numbers, `commands` reads the help of
`cog`, `generate` makes the parts that stand between markers. Then read `test_docs`, `test_pages`,
`test_metrics` and `test_results`.
"""
