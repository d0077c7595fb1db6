"""Predictions beside what ran: a module's step, a recorded trace, a server's benchmark."""
