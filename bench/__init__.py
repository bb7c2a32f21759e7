"""Benchmarks of teachers and bundles: accuracy, size, latency and throughput, measured together.

Importing `bench` loads neither torch nor transformers.
"""
