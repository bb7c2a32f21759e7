"""The data that a recipe names."""
