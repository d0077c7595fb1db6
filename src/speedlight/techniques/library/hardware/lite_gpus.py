"""Many small devices instead of each large one: the same silicon in more packages, joined by co-packaged optics."""

from __future__ import annotations

from ....hardware.cluster import joined
from ....scenario.scenario import Scenario
from ...edits import with_parallel
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _divided(subject: Subject, settings: Settings) -> Scenario:
    parts, machine = settings["parts"], subject.machine
    figures = {
        f"engines.{machine.engine.name}.peaks": 1.0 / parts,
        f"engines.{machine.engine.name}.units": machine.engine.units / parts,
    }
    for tier in machine.tiers:
        if tier.role in ("main", "cache", "sram"):
            figures[f"tiers.{tier.name}.bandwidth"] = (
                tier.bandwidth / parts * (settings["shoreline"] if tier.role == "main" else 1.0)
            )
            figures[f"tiers.{tier.name}.capacity_bytes"] = tier.capacity_bytes / parts
    for link in machine.links:
        if link.role == "scale_up":
            figures[f"links.{link.name}.bandwidth"] = link.bandwidth / parts * settings["optics"]
    smaller = subject.scenario.replace(overrides={**subject.scenario.overrides, **figures})
    return with_parallel(Subject(smaller), tp=subject.parallel.tp * parts)


def _refuse(subject: Subject, settings: Settings) -> Refusal | None:
    machine = subject.machine
    if subject.phase == "train" or machine.domains:
        return Refusal("it is laid out for a lone device in inference", "--on one device, a phase of inference")
    if not any(link.role == "scale_up" for link in machine.links):
        return Refusal(f"{machine.name} states no link to others of its kind", "a device with a scale-up link")
    joined(machine, settings["parts"])
    heads = [d.size for d in subject.graph.dims.values() if d.role in ("heads", "ffn", "vocab")]
    if not heads:
        return Refusal("the model names no dimension that devices could divide", "a transformer")
    if any(size % (settings["parts"] * int(subject.parallel.tp)) for size in heads):
        return Refusal(f"{settings['parts']} parts do not divide the model", "2 or 4 parts")
    return None


LITE = register(Technique(
    name="lite-gpus",
    title="Small single-die GPUs instead of large packages",
    family="hardware",
    mechanism="each part has a share of units, memory and link; more edge for each area may give each more bandwidth, and messages grow",
    papers=("good-things-come-in-small-packages",),
    citation="Lite-GPUs, arXiv 2501.10187",
    parameters=(
        Parameter("parts", 4, "devices a package is divided into", low=1, neutral=1, trials=(2,)),
        Parameter("shoreline", 1.0, "memory bandwidth of all parts over the package's", low=0.1),
        Parameter("optics", 1.0, "link bandwidth of all parts over the package's", low=0.1, trials=(2.0,)),
    ),
    edits=(Edit("machine", "machine", _divided),),
    refuse=_refuse,
    exact=True,
    whatif=False,
))  # fmt: skip
