"""Loads bundles in other programs, and compares their outputs with those of predict.py: `python -m tests.interop`."""
