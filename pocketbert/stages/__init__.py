"""The stages: one file each, with a function that takes the run's context and a workspace, and returns a result."""
