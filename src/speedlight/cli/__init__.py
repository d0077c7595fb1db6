"""The ``speedlight`` command."""
