"""The answer and what it says: totals, bounds in words, layers, sensitivities, whether it fits."""
