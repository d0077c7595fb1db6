"""The ledger of published claims: each derived by the engine in the paper's own setting, with a verdict (DESIGN, "Verdicts").

::

    finding.py    what a derivation says: a range in the claim's unit, the bound, the inputs, the words
    bench.py      what a derivation asks with: the engine, sizes of models and machines; it writes down every input
    registry.py   derivations by claim id
    verdicts.py   a claim and a finding → a verdict; the one place where verdicts are made
    ledger.py     all papers → CONTRACT's ``claims`` object
    papers/       one module a paper: its derivations
"""
