"""Steps over many devices: layouts, messages, pipeline stages, the ledger of each rank, and whole runs."""
