"""A run: its plan, its flow, its forecast and its results document."""
