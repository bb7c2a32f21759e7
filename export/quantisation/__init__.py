"""Variants: lower precision for weights and activations."""
