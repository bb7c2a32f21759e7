"""Attacks on run folders, checkpoints and caches."""
