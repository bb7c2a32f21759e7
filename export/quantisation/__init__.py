"""Export variants: weights and activations in lower precision."""
