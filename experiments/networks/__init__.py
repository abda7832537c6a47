"""The networks that BACKBONE= may name: `kinds` lists the ways to name one, `resolve` makes the network."""
