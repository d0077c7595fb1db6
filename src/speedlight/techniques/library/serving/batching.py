"""Several requests in one call."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, inference
from ...edits import with_workload
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _larger(subject: Subject, settings: Settings) -> Scenario:
    return with_workload(subject, batch=subject.workload.batch * settings["times"])


def _one_step(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.scenario.serving is not None:
        return Refusal("batches form from the queue here", "continuous-batching")
    if subject.workload.groups:
        return Refusal("the sequences of the step are given one by one")
    return None


BATCHING = register(Technique(
    name="batching",
    title="Batching: several requests in one call",
    family="serving",
    mechanism="weights are read and kernels launched once for all requests of the call, and products fill the units better; each request waits for the whole call",
    citation="Crankshaw et al., Clipper, NSDI 2017",
    parameters=(Parameter("times", 8, "requests in a call over what they were", low=1, high=65536, neutral=1, trials=(2,)),),
    edits=(Edit("workload", "batch", _larger),),
    refuse=every(inference, _one_step),
    exact=True,
    whatif=False,
))  # fmt: skip
