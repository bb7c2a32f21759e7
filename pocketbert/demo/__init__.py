"""Serves a page in which bundles run in the browser."""
