"""Installs packaged bundles on other machines, with no network, and measures them: `python -m tests.edge BUNDLE`."""
