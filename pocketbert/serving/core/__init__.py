"""Bundles, their queues and their tensors, whatever the protocol."""
