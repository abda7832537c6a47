"""Composition: data sets by name, recipes, tables, the command line. It alone may import the others."""
