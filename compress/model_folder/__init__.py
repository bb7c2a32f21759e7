"""Reads the files of a model's folder: config.json, weights and tokenizer files. Checks them before they are loaded."""
