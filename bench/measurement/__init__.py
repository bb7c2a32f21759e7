"""Foundations of every measurement: worker processes, facts about the machine, statistics."""
