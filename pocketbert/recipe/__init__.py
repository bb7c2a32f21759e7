"""The recipe: its sections, how it is read, and the checks before a run."""
