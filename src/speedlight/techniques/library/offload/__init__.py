"""Weights, experts, caches and states outside the device's memory, and how they come."""
