"""Load data sets by name: official files are read and converted to the packed form. Also leakage audits."""
