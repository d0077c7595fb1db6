"""Claims of papers on parallelism and communication."""
