"""Files that hold weights: what their headers say of each tensor, and giving a graph's weights exactly those bytes."""
