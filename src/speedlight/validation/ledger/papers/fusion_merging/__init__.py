"""Fused libraries, and models merged from several."""
