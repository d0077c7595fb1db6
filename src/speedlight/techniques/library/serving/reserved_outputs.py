"""A request is admitted only with room for its whole answer."""

from __future__ import annotations

from ...conditions import every, generates, with_load
from ...edits import with_rules
from ...technique import Edit, Technique, register

RESERVED_OUTPUTS = register(Technique(
    name="guaranteed-no-evict",
    title="Admission with room for the whole answer",
    family="serving",
    mechanism="blocks for the whole output are set aside at admission: no request is ever preempted, fewer run at once",
    papers=("energonai",),
    citation="TensorRT-LLM documentation: capacity policy GUARANTEED_NO_EVICT; Orca, OSDI 2022",
    edits=(Edit("serving", "serving.preemption", lambda subject, settings: with_rules(subject, reserve=1.0, reserve_least=1.0)),),
    refuse=every(with_load, generates),
    exact=True,
))  # fmt: skip
