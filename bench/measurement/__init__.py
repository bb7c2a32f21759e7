"""What a measurement rests on: processes, the machine, statistics."""
