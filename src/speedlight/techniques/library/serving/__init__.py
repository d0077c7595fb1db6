"""Serving: how requests share an engine's steps, its memory and its machines."""
