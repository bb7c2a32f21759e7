"""Analyses of a benchmark: table rows from samples, sizes, profiles, roofline and provenance."""
