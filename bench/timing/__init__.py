"""Latency and throughput: the systems, the process of each, interleaved rounds, load."""
