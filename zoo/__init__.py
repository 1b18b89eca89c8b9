"""The networks, their training, and the ``zoo`` command."""

__version__ = "0.1.0"
