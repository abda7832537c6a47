"""What the solver does beyond one machine's memory and one process, on synthetic features."""
