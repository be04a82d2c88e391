"""Benchmarks: every part beside something measured in the same run.

Read `config`, `bench` (the sections), `rounds` (how things are timed), then a section: `update`,
`settings`, `scaling`, `collect`, `environment`, `evaluate`, `data`; `parity` compares results instead of
times.
"""
