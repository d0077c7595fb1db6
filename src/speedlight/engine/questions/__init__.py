"""What is asked: a person's words → a checked scenario, its names → graph, machine and stack, and what was assumed on the way."""
