"""Performance models and measurement studies: what of theirs the engine derives."""
