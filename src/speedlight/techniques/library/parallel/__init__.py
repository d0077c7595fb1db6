"""Parallelism and communication: what is divided over devices, in which order they run, and how their messages travel."""
