"""Fine-tuning tokens in the steps of an engine that serves."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.workload import Group
from ...conditions import every, generates, phases
from ...edits import with_workload
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

PASSES = 2.0  # over a frozen base: forward, and gradients of activations; weights have none


def _beside(subject: Subject, settings: Settings) -> Scenario:
    w = subject.workload
    return with_workload(
        subject, groups=(Group(w.batch, 1.0, w.context), Group(PASSES, settings["tokens"], settings["tokens"] / 2))
    )


def _plain(subject: Subject, settings: Settings) -> Refusal | None:
    return Refusal("the step's groups are stated one by one") if subject.workload.groups else None


CO_SERVING = register(Technique(
    name="co-served-finetuning",
    title="Fine-tuning beside serving (FlexLLM)",
    family="serving",
    mechanism="tokens of adapters' training ride in the decode steps, whose products wait for memory: forward and back through a frozen base, two passes a token",
    papers=("flexllm",),
    citation="Miao et al., FlexLLM, arXiv 2402.18789",
    parameters=(Parameter("tokens", 128, "training tokens of a step", "token", low=1, trials=(512,)),),
    edits=(Edit("workload", "workload.groups", _beside),),
    refuse=every(phases("decode"), generates, _plain),
    exact=True,
    whatif=False,
))  # fmt: skip
