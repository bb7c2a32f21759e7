"""results.json as typed records."""
