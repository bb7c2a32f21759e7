"""How long a run takes: the cost of its steps on this machine, and the time of each stage."""
