"""Opens the page of `pocketbert demo` in Chromium, and compares it with predict.py: `python -m tests.demo`."""
