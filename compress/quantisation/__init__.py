"""Quantisation-aware training: a student that computes with the rounding of a static variant."""
