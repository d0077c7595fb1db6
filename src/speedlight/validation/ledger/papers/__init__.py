"""One module a paper, in a folder a kind of the literature file: its derivations."""
