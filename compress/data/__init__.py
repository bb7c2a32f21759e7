"""Reads tables and corpora, and turns them into tokens and labels."""
