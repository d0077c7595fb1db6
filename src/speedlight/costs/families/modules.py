"""module_mla_*, module_dsa_*, module_msa_*: whole attention modules; importing registers their tables."""

from __future__ import annotations

from . import modules_dense, modules_sparse

__all__ = ["modules_dense", "modules_sparse"]
