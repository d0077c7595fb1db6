"""Suites; importing this package registers them: one for every table that a cost family is fitted to, and whole models."""

from . import fp32_models, tables

__all__ = ["fp32_models", "tables"]
