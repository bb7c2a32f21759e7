"""Teachers and students: their sources, architectures, weights, vocabularies and inference."""
