"""Views of an answer: terminal, page, notebook, picture. Pure renderers: they compute nothing that the answer does not hold."""
