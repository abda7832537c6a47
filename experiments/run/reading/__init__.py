"""What is read from files into Python values: JSON (`documents.py`) and TOML (`toml.py`), checked against a shape."""
