"""Derivations of one kind of paper; see the files."""
