"""Host memory widened by CXL cards: more room, and their bandwidth beside or instead of the local channels'."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...placing import offloaded_training
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _cards(subject: Subject, settings: Settings) -> Scenario:
    """Pages interleaved in proportion to bandwidth: both sorts of channels bring them at once."""
    host = next(t for t in subject.machine.tiers if t.role == "host")
    cards, each = settings["cards"], settings["gb_s"] * 1e9
    figures = {
        f"tiers.{host.name}.bandwidth": host.bandwidth + cards * each,
        f"tiers.{host.name}.capacity_bytes": host.capacity_bytes + cards * settings["gb"] * 1e9,
    }
    return subject.scenario.replace(overrides={**subject.scenario.overrides, **figures})


def _refuse(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.phase == "train" and not subject.training.offload:
        return Refusal("the step keeps nothing in host memory", "--offload optimizer:host")
    if subject.phase != "train":
        return None if subject.workload.places else Refusal("nothing lies in host memory", "--offload weights:host")
    return offloaded_training(subject, settings)


CXL = register(Technique(
    name="cxl-memory",
    title="CXL add-in memory beside the host's",
    family="offload",
    mechanism="states and activations that live in host memory are spread over local channels and CXL cards, which bring them at once",
    papers=("analysis-and-optimized-cxl-attached-memory-allocation-for-lo",),
    citation="arXiv 2507.03305; CXL 2.0 over PCIe 5.0 x8",
    parameters=(
        Parameter("cards", 1.0, "add-in cards", low=0.0, neutral=0.0, trials=(2.0,)),
        Parameter("gb_s", 28.0, "of a card (PCIe 5.0 x8 less protocol)", "GB/s", low=0.1),
        Parameter("gb", 256.0, "of a card", "GB", low=1.0),
    ),
    edits=(Edit("machine", "tiers.host", _cards),),
    refuse=_refuse,
    exact=True,
))  # fmt: skip
