"""The attack suite: damaged files, hostile input, kills and faults, and a judge that decides what is a bug."""
