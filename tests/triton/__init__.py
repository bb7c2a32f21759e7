"""`pocketbert triton` on a real Triton Inference Server; run by hand with `python -m tests.triton`."""
