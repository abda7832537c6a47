"""The de-duplication pass: what it is run over, what it finds, what it leaves for a person to judge."""
