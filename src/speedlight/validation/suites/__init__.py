"""Suites; importing this package registers them: one for every table that a cost family is fitted to, and one for each
table of whole models."""

from . import deployments, fp32_models, image_models, inference, tables, training

__all__ = ["deployments", "fp32_models", "image_models", "inference", "tables", "training"]
