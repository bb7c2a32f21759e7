"""Benchmarks the speed of the training stages."""
