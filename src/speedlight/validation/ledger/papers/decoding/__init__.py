"""Derivations of papers on decoding."""
