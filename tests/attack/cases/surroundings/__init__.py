"""Attacks with disks, signals, clocks, a user's files and texts from outside."""
