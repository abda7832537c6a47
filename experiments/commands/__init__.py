"""The commands of `dcgan-eval`. Each has a module with its options and the function that runs it."""
