"""Short of memory, the request that has generated least gives way."""

from __future__ import annotations

from ...conditions import every, generates, with_load
from ...edits import with_rules
from ...technique import Edit, Technique, register

PREEMPT_LEAST = register(Technique(
    name="preempt-least-progress",
    title="Preemption of who has generated least",
    family="serving",
    mechanism="the victim of a shortage of memory is the request with the fewest output tokens, so that least work is done twice",
    citation="SGLang: retraction of decoding requests",
    edits=(Edit("serving", "serving.victim", lambda subject, settings: with_rules(subject, victim="least-progress")),),
    refuse=every(with_load, generates),
    exact=True,
))  # fmt: skip
