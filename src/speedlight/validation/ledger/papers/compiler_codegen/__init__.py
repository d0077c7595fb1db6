"""Compilers, code generators and what they fuse."""
