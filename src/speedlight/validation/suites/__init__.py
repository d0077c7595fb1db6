"""Suites; importing this package registers them: one for every table that a cost family is fitted to."""

from . import tables

__all__ = ["tables"]
