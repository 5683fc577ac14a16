"""The version of the whole distribution; one number for every room."""

__version__ = "0.1.0"
