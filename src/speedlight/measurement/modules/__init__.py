"""A module of PyTorch run for real: timed, traced by module path, its memory watched (docs/measure.md)."""
