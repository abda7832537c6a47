"""The networks that BACKBONE= may name: `kinds` lists the ways to name a network, `resolve` makes it."""
