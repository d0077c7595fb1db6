"""Several programs: one after the other, on machines of their own, with what they hand to each other."""
