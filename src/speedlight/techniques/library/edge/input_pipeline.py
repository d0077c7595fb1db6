"""What stands before an image network: pictures decoded, resized and normalised, by the host's cores or by the device."""

from __future__ import annotations

from pathlib import Path

from ....hardware.catalogue import machine_ids
from ....scenario.scenario import Edge, ModelRef, Program, Scenario
from ....workload.workload import Workload
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

OPS = str(Path(__file__).with_name("image_input.yaml"))
SIDE, STORED = 224.0, 375.0 * 500.0  # pixels of a side the network takes, pixels of a stored picture


def _before(subject: Subject, settings: Settings, machine: str) -> Scenario:
    """A stage before the network; finished pixels cross from the host, compressed bytes where the device decodes."""
    batch, main = subject.workload.batch, subject.program
    work = Workload("forward", batch=batch, symbols={"density": settings["density"]})
    stage = Program(ModelRef(OPS), work, name="input", machine=machine)
    each = SIDE * SIDE * 3.0 * 2.0 if machine else STORED * settings["density"] / 8.0
    edge = Edge("input", main.name, batch * each, f"{settings['link_gb_s']:g} GB/s")
    return subject.scenario.replace(programs=(stage, main), edges=(edge,), main=main.name)


def _refuse(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.phase != "forward" or not subject.image or subject.transformer:
        return Refusal("it takes no pictures of its own", "an image network, --phase forward")
    if len(subject.scenario.programs) > 1 or subject.workload.places:
        return Refusal("it is about one network that lies on its device", "a single program without --offload")
    if settings.get("machine", "epyc-7763") not in machine_ids():
        return Refusal(f"no machine is called {settings['machine']}", "an id of `speedlight devices`")
    return None


_DENSITY = Parameter("density", 1.5, "compressed bits a pixel", "bit", low=0.1, high=8.0)
_LINK = Parameter("link_gb_s", 25.0, "from the host to the device", "GB/s", low=0.01)

HOST_INPUT = register(Technique(
    name="host-input-pipeline",
    title="Pictures decoded by the host",
    family="edge",
    mechanism="the host's cores decode, resize and normalise each batch; finished pixels cross to the device before the network runs",
    citation="Wallace, The JPEG still picture compression standard, 1991; Mohan et al., arXiv 2007.06775",
    parameters=(Parameter("machine", "epyc-7763", "id of the host's processor"), _DENSITY, _LINK),
    edits=(Edit("placement", "programs", lambda subject, settings: _before(subject, settings, settings["machine"])),),
    refuse=_refuse,
    whatif=False,
))  # fmt: skip

DEVICE_INPUT = register(Technique(
    name="device-input-pipeline",
    title="Pictures decoded by the device",
    family="edge",
    mechanism="compressed bytes cross the link and the device decodes, resizes and normalises them on the units it has",
    citation="NVIDIA DALI; Mohan et al., arXiv 2007.06775",
    parameters=(_DENSITY, _LINK),
    edits=(Edit("placement", "programs", lambda subject, settings: _before(subject, settings, "")),),
    refuse=_refuse,
    whatif=False,
))  # fmt: skip
