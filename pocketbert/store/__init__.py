"""Run folders and the cache."""
