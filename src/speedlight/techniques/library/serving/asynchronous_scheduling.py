"""The host prepares a step while the device runs the one before it."""

from __future__ import annotations

from ...conditions import every, generates, with_load
from ...edits import with_rules
from ...technique import Edit, Technique, register

ASYNCHRONOUS_SCHEDULING = register(Technique(
    name="asynchronous-scheduling",
    title="Asynchronous scheduling (overlap scheduler)",
    family="serving",
    mechanism="the host's time of a step hides behind the device's; what is decided is one step older",
    citation="SGLang 0.4 (zero-overhead batch scheduler); vLLM --async-scheduling",
    edits=(Edit("serving", "serving.overlap", lambda subject, settings: with_rules(subject, overlap=True)),),
    refuse=every(with_load, generates),
    exact=True,
))  # fmt: skip
