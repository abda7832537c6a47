"""What every room stands on: the run itself, console, files, caches, workers, signals. No data set, no network."""
