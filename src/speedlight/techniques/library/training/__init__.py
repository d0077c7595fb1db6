"""Techniques of training: what is kept, computed again, frozen or narrowed; see the files."""
