"""Core: what every layer stands on and that knows none of them.

Read `files` (atomic writes, hashes), `sealed` (small files that notice damage), `lock` and `inputs`
first; then `configs`, `bounds` and `options` (settings), `lazy` (tables), `console` (what people see),
`workers`, `stopping` and `parallel` (processes), `figures` and `videos` (pictures).
"""
