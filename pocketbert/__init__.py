"""The front door: recipe in, bundles and report out."""

__version__ = "0.6.0"
