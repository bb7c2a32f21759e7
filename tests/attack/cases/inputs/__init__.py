"""Attacks with recipes, tables, model folders and options."""
