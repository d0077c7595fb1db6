"""Other machines in the place of the one asked about."""
