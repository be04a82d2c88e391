"""Studies: questions about methods that one command each answers with numbers and pictures.

`stitching`: who reaches C from A on data that lead from A to B and from B to C, and why. `extrapolation`:
what goes wrong when an off-policy method learns from data that it does not collect. `meters`: the failure
meters of a run, in one picture. `config` says what each may be asked.
"""
