"""The demo: the whole chain in one command, with a report.

Read `config`, `plan` (what is trained and on what), `demo`, `arms`, `stages` and `report`.
"""
