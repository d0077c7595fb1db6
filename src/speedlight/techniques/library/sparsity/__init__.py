"""Techniques of one family; see the files."""
