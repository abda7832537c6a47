"""Benchmarks and studies of the project itself, each a program: `python -m experiments.studies.NAME --help`."""
