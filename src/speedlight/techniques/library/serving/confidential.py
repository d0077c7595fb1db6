"""Every byte between host and device is encrypted: the host link is as fast as whoever encrypts."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import on_gpu
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _slower(subject: Subject, settings: Settings) -> Scenario:
    rate = settings["threads"] * settings["gbytes_per_s"] * 1e9
    changed = {}
    for link in subject.machine.links:
        if link.role == "host":
            changed[f"links.{link.name}.bandwidth"] = link.bandwidth if rate >= link.bandwidth else rate
    return subject.scenario.replace(overrides={**subject.scenario.overrides, **changed})


def _linked(subject: Subject, settings: Settings) -> Refusal | None:
    if any(link.role == "host" for link in subject.machine.links):
        return on_gpu(subject, settings)
    return Refusal(f"{subject.machine.name} states no link to its host")


CONFIDENTIAL = register(Technique(
    name="confidential-computing",
    title="GPU confidential computing (encrypted host transfers; PipeLLM pipelines them)",
    family="serving",
    mechanism="transfers between host and device pass an encryption stage on the host's cores: the link's rate is the lesser of the two; more threads that encrypt ahead raise it",
    papers=("pipellm",),
    citation="Tan et al., PipeLLM, ASPLOS 2025, arXiv 2411.03357",
    parameters=(
        Parameter("gbytes_per_s", 4.0, "what one core encrypts", "GB/s", low=0.1),
        Parameter("threads", 1, "cores that encrypt, in a pipeline ahead of the transfers", low=1, trials=(8,)),
    ),
    edits=(Edit("machine", "machine.host_link", _slower),),
    refuse=_linked,
    exact=True,
    whatif=False,
))  # fmt: skip
