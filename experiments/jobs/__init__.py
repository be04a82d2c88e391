"""Jobs: experiments as pieces of work that are named by content, shared, and never repeated.

Read `job`, `kinds` (collect, train, evaluate), `run` (the loop) and `crew` (who does them: this process, or
`cluster`, Dask workers, on which `worker` runs); `estimate` says how long they take, `code` which code made
them, `mark` what a folder of them is.
"""
