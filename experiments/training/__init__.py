"""Recipes and their runs: images, checkpoints, what is watched while a network trains."""
