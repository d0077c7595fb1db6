"""Derivations of papers on the KV cache."""
