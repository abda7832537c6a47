"""What BACKBONE= may name, each kind in a module: a text becomes a network ready for feature extraction."""
