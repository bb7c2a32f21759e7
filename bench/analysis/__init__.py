"""What the samples say, and what explains them."""
