"""Published techniques as edits of a question (DESIGN decision 9): what it would take where *you* run it.

::

    technique.py    what a technique is: parameters, edits, conditions, quoted quality; where they are filed by name
    subject.py      the question a technique is asked about, with its graph, machine and stack
    conditions.py   refusals that many techniques share
    edits.py        changes of a scenario that many techniques make
    compose.py      several techniques → one scenario, whatever the order they were named in
    gains.py        two predictions set beside each other: gain with its interval, memory, bound, crossovers
    whatif.py       every technique on one question, ranked; pairs and triples; each part's share of a composition
    conformance.py  what any technique must hold, a third party's too
    library/        one file a technique, by family

A technique never holds a speed-up. It changes what is computed, read, kept, sent or launched; the engine says what that
brings. Third parties register theirs with the entry point ``speedlight.techniques`` (docs/extend/a-technique.md).
"""

from __future__ import annotations

from .compose import applied, ask
from .technique import Edit, Parameter, Quote, Refusal, Technique, catalogue, register

__all__ = ["Edit", "Parameter", "Quote", "Refusal", "Technique", "applied", "ask", "catalogue", "register"]
