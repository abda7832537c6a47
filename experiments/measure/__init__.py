"""Measurements that answer rows of the tables: protocols, classifiers, records, paired tests."""
