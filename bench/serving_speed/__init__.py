"""How many requests per second a server answers within a latency."""
