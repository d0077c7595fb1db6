"""NeuPIMs, Duplex: decode attention in the memory's own banks or on its logic die, products on the device."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....workload.places import Place
from ...conditions import decoding, every
from ...placing import not_yet, with_place
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _banks(subject: Subject, settings: Settings) -> Scenario:
    rate = settings["ratio"] * subject.machine.main.bandwidth
    return with_place(subject, Place("kv", "memory", way="computed", rate=rate, intensity=settings["intensity"]))


IN_MEMORY_ATTENTION = register(Technique(
    name="in-memory-attention",
    title="Attention in memory banks (NeuPIMs, AttAcc)",
    family="hardware",
    mechanism="keys and values are read where they lie at the banks' rate, which is several times the bus's; products stay on the device",
    papers=("neupims", "duplex"),
    citation="NeuPIMs, arXiv 2403.00579; Duplex, arXiv 2409.01141",
    parameters=(
        Parameter("ratio", 4.0, "bandwidth inside the memory over the bus's", low=1.0, trials=(2.0, 8.0)),
        Parameter("intensity", 1.0, "operations its units do for each byte they read", "FLOP/B", low=0.1, trials=(8.0,)),
    ),
    edits=(Edit("workload", "places.kv", _banks),),
    refuse=every(decoding, not_yet("kv")),
    exact=True,
    whatif=False,
    kernel_grade="assumed",
))  # fmt: skip
