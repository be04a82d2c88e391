"""Core: what every layer uses, and what depends on none of them.

Read `files` (atomic writes, hashes), `sealed` (small files that detect damage), `lock` and `inputs`
first; then `configs`, `bounds` and `options` (settings), `console` (output for people), `lazy` and `program`
(the command line), `workers`, `stopping` and `parallel` (processes), `figures` and `videos` (images).
"""
