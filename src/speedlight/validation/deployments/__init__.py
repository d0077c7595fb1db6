"""Measured serving deployments: rows read, priced, put through a closed loop, fitted (studies/2026-11-serving.md)."""
