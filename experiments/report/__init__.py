"""One page with everything that is recorded."""
