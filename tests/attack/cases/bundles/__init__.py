"""Attacks on bundles."""
