"""Recipes and training runs: images, checkpoints, and the monitoring of a network while it trains."""
