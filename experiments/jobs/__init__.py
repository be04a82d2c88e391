"""Jobs: experiments as pieces of work that are named by content, shared, and never repeated.

Read `job`, `kinds` (collect, train, evaluate), `run`, `estimate` and `board`; `code` says which code made
them.
"""
