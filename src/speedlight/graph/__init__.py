"""The operator graph: logical work and operands, nothing device-shaped."""
