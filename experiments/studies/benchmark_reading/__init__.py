"""How fast minibatches are read that do not lie on the networks' device."""
