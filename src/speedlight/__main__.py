"""``python -m speedlight`` is the ``speedlight`` command."""

from .cli.main import run

run()
