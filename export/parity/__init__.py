"""Compares an exported model with its torch model."""
