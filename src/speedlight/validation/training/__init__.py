"""Published training steps: what each source states and how it counts, rows as questions, the fit to what physics leaves."""
