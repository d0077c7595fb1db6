"""A network's first layers on a small device, the rest on a server: what crosses is the tensor at the cut."""

from __future__ import annotations

from ...._foundation.errors import SpeedlightError
from ....engine.programs.cuts import Hop, check_cut, cut_at, cuttable
from ....hardware.catalogue import machine_ids
from ....scenario.scenario import Scenario
from ...conditions import every, inference
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _split(subject: Subject, settings: Settings) -> Scenario:
    found = cuttable(subject.scenario, (settings["machine"],))
    way = Hop(f"{settings['mbit_s']:g} Mbit/s", narrowed=settings["narrowed"])
    return cut_at(found, [found.at_work(settings["share"])], [way])


def _refuse(subject: Subject, settings: Settings) -> Refusal | None:
    if settings["machine"].partition("#")[0] not in machine_ids():
        return Refusal(f"no machine is called {settings['machine']}", "an id of `speedlight devices`")
    try:
        check_cut(subject.scenario, (settings["machine"],))
    except SpeedlightError as error:
        return Refusal(error.message, error.hint or error.expected)
    return None


SPLIT = register(Technique(
    name="split-computing",
    title="Split computing: first layers on the device, the rest on a server",
    family="edge",
    mechanism="a small device runs the first layers and sends the tensor at the cut over a radio; a bottleneck there sends less",
    papers=("split-computing-for-complex-object-detectors", "bottlefit",
            "neural-compression-and-filtering-for-edge-assisted-real-time"),
    citation="Matsubara et al., arXiv 2007.13312, 2201.02693",
    parameters=(
        Parameter("share", 0.25, "share of the work done on the device; the nearest place to cut", low=0.0, high=1.0, trials=(0.5,)),
        Parameter("machine", "jetson-orin-nano-8gb", "id of the device"),
        Parameter("mbit_s", 100.0, "of the radio", "Mbit/s", low=0.001),
        Parameter("narrowed", 1.0, "bytes sent over those of the tensor at the cut", low=1e-4, high=1.0, trials=(0.1,)),
    ),
    edits=(Edit("placement", "programs", _split),),
    refuse=every(inference, _refuse),
    whatif=False,
))  # fmt: skip
