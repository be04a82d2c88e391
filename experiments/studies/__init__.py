"""Studies: questions about methods that one command each answers with numbers and pictures.

Read `config` (what each study may be asked, and what runs it), then `stitching`: who reaches C from A on data
that lead from A to B and from B to C. Each study has a file of its own, and a `..._report` for its page.
"""
