"""The version of the harness, in one place; plain, so that reading it costs nothing."""

__version__ = "0.2.0"
