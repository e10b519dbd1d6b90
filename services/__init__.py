"""The service and its processes."""

__version__ = "0.1.0"
