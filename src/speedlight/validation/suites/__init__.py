"""Suites; importing this package registers them: one for every table that a cost family is fitted to, and one for each
table of whole models."""

from . import image_models, tables

__all__ = ["image_models", "tables"]
