"""`pocketbert design`: the shape of a student that fits a budget of latency and size on this machine."""
