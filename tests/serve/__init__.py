"""Clients of other projects at `pocketbert serve`, by hand."""
