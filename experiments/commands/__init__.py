"""The commands of `dcgan-eval`, a module each: its options, and what runs it."""
