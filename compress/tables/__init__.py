"""Reads tables from files of any origin: finds out the format, then reads every row strictly, or refuses the file."""
