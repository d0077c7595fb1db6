"""The shipped templates; importing this package registers them."""

from . import dense, hashing, images, messages, moving, ordering, search, sparse, spectral, tables
from .template import TEMPLATES, Argument, Template

__all__ = [
    "TEMPLATES", "Argument", "Template", "dense", "hashing", "images", "messages", "moving", "ordering", "search", "sparse",
    "spectral", "tables",
]  # fmt: skip
