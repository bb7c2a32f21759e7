"""Bundles and teacher in, evidence out: accuracy, size, latency and throughput, measured side by side.

Kept light on purpose: importing `bench` loads neither torch nor transformers.
"""
