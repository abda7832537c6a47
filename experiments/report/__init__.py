"""One page over everything that is recorded."""
