"""Reads files of any origin within limits: their bytes, JSON and YAML, and formats whose libraries can crash."""
