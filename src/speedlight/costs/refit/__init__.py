"""Refitting every cost family from the data folder: ``python -m speedlight.costs.refit`` (a developer's command)."""
