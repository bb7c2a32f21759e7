"""Benchmarks the speed of data augmentation."""
