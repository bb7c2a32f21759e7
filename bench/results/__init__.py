"""Typed records of results.json."""
