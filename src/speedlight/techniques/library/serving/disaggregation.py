"""Prompts on engines of their own, keys and values handed over a link."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, generates, with_load
from ...edits import with_engines
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _split(subject: Subject, settings: Settings) -> Scenario:
    return with_engines(
        subject, prefill_replicas=settings["prefill"], replicas=settings["decode"] or subject.serving.engines.replicas,
        prefill_tp=settings["prefill_tp"], prefill_machine=settings["prefill_machine"],
    )  # fmt: skip


def _not_yet(subject: Subject, settings: Settings) -> Refusal | None:
    engines = subject.serving.engines
    if engines.prefill_replicas:
        return Refusal("prompts have engines of their own already")
    return Refusal("split pools do not scale", "a fixed number of engines") if engines.scale_up else None


DISAGGREGATION = register(Technique(
    name="disaggregated-prefill",
    title="Disaggregated prefill and decode (DistServe, Splitwise)",
    family="serving",
    mechanism="prompts and decoding run on separate engines with layouts and machines of their own; no step mixes the phases, keys and values cross a link once a request",
    papers=("distserve", "accellm", "taming-the-chaos", "serving-large-language-models-on-huawei-cloudmatrix384"),
    citation="Zhong et al., OSDI 2024, arXiv 2401.09670; Splitwise, ISCA 2024",
    parameters=(
        Parameter("prefill", 1, "engines that run prompts", low=1),
        Parameter("decode", 0, "engines that decode; 0 for as many as there are", low=0),
        Parameter("prefill_tp", 0, "tensor-parallel degree of a prompt engine; 0 for the same", low=0),
        Parameter("prefill_machine", "", "machine of a prompt engine; empty for the same"),
    ),
    edits=(Edit("serving", "serving.pools", _split),),
    refuse=every(with_load, generates, _not_yet),
    exact=True,
))  # fmt: skip
