"""Commands that need no run: export, predictions, benchmarks, comparisons, the doctor."""
