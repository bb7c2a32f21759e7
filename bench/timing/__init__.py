"""Measures latency and throughput: contenders, their worker processes, interleaved rounds, load tests."""
