"""TinyBERT's two stages: what is matched, and the loop that trains."""
