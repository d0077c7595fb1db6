"""This machine calibrated by its own operators (docs/calibrate.md)."""
