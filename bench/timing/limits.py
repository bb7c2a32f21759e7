"""The largest settings of a benchmark. A larger one is a slip of the pen and would fill the memory or take years."""

MOST_THREADS = 1024  # of a model
MOST_PROCESSES = 64  # of a load test
MOST_ROUNDS = 10_000
MOST_SHAPES = 50  # of a grid, for texts of one length or batches of one size
MOST_TEXTS, MOST_TOKENS = 65_536, 65_536  # of a batch, and of a text
MOST_ROWS = 10_000_000
MOST_MS = 3_600_000.0  # an hour
MOST_MB = 1e6  # of a model
