"""Suites, one file each; importing this package registers them."""

from . import gemm

__all__ = ["gemm"]
