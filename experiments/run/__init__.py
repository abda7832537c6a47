"""What all other rooms use: the run itself, console, files, caches, workers, signals. No data sets, no networks."""
