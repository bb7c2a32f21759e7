"""The data of a recipe: its task, its corpora and the data of the quickstart."""
