"""Data sets by name, from the official files as people have them to the packed form; leakage audits."""
