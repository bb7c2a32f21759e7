"""One file per stage; each has one function that takes the run's context and a workspace, and returns its result."""
