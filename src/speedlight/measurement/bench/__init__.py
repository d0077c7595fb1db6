"""Microbenchmarks of the machine this runs on: timed with care, raw samples kept, resumable (docs/measure.md)."""
