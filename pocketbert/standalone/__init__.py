"""What works without a run: export, benchmarks, looks at data and machine."""
