"""How fast the training stages are."""
