"""Small devices, work split between two places, and what happens before the network."""
