"""Engines that come and go with the load."""

from __future__ import annotations

from ...conditions import every, generates, with_load
from ...edits import with_engines
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _one_pool(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.serving.engines.prefill_replicas:
        return Refusal(
            "engines of split pools are of a fixed number in this version", "one pool, without --prefill-replicas"
        )
    return None


AUTOSCALING = register(Technique(
    name="autoscaling",
    title="Autoscaling by requests in flight",
    family="serving",
    mechanism="an engine is started where more requests are in flight than those running should hold, and stopped when idle: fewer idle devices, cold starts in between",
    papers=("taming-the-chaos", "adaptive-orchestration-for-large-scale-inference-on-heteroge"),
    citation="Taming the Chaos, arXiv 2508.19559",
    parameters=(
        Parameter("up", 64.0, "requests in flight an engine above which another is started", low=1.0),
        Parameter("down", 8.0, "and below which an idle one is stopped", low=0.0),
        Parameter("seconds", 30.0, "until a new one serves", "s", low=0.0),
        Parameter("engines", 4, "engines at most", low=1),
    ),
    edits=(Edit("serving", "serving.scaling", lambda subject, settings: with_engines(
        subject, scale_up=settings["up"], scale_down=settings["down"], cold_start=settings["seconds"], replicas=settings["engines"]
    )),),
    refuse=every(with_load, generates, _one_pool),
    exact=True,
    whatif=False,
))  # fmt: skip
