"""Advice at the end of a run: what to try next, derived from its results."""
