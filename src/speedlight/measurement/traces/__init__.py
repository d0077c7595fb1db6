"""Recorded traces: read with limits into columns, attributed to causes (docs/diagnose.md)."""
