"""One page over all that is recorded."""
