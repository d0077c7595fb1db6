"""New weights on their way from the trainer to the rollout's engines, and a trainer's states to the host and back.

Every device of an engine takes its share w of the weights W, in the rollout's format, from devices of the trainer, each of which
sends what its own share of all copies is; the slower side sets the time:

    sync = max(w / bandwidth in,  copies · W / trainer devices / bandwidth out) + latency · messages

Copies are the engines; with ``broadcast`` engines pass on what they receive, so that the trainer sends one copy, as a ring's
pipeline does. Colocated, the path is the innermost fabric (a device has weights of its own memory too, and all of them are counted as if
they came over the link); split, the network port, unless both sit in one box.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..._foundation.errors import BadInput
from ..._foundation.provenance import Assumption, Grade
from ...hardware.machine import Machine
from ...scenario.scenario import Scenario
from ..questions.resolve import resolve
from ..serving.simulate import Answer

NETWORK = 50e9  # bytes a second of a device's network port where nobody says: 400 Gb/s
LATENCY = 1e-3  # of gathering a tensor, renaming and loading it, a message


@dataclass(frozen=True, slots=True)
class Way:
    """How weights travel.

    Attributes:
        bandwidth: bytes a second of one device; 0 for the machine's own fabric (colocated) or its network port (split).
        broadcast: engines pass on what they receive.
        messages: tensors sent one after the other, each with a millisecond of its own (bucketed as trainers do).
    """

    bandwidth: float = 0.0
    broadcast: bool = True
    messages: int = 64

    def __post_init__(self) -> None:
        if self.bandwidth < 0 or self.messages < 0:
            raise BadInput(f"{self.bandwidth} B/s, {self.messages} messages", expected="numbers from 0 on")


@dataclass(frozen=True, slots=True)
class Travel:
    """Seconds of a transfer and what they rest on."""

    seconds: float
    assumptions: tuple[Assumption, ...]


def sync_seconds(
    way: Way, trainer: Scenario, served: Answer, trainer_devices: int, *, split: bool
) -> Travel:  # fmt: skip
    """Seconds until every engine of the rollout has the new weights."""
    weights = served.facts["model"].get("weight_bytes")
    if weights is None:
        raise BadInput("a model whose weights nobody knows", expected="a model of known parameters")
    copies = int(served.facts["replicas"])
    share = float(served.facts["memory"]["weights"])  # of the fullest device
    bandwidth, grade, source = _bandwidth(way, resolve(trainer).machine, split)
    sent = float(weights) * (1 if way.broadcast else copies) / trainer_devices
    seconds = max(share, sent) / bandwidth + way.messages * LATENCY
    notes = (
        Assumption("weight sync: bytes a second of a device", bandwidth, grade, source),
        Assumption("weight sync: messages", way.messages, "assumed", "a millisecond each: gather, rename, load"),
    )
    return Travel(seconds, notes)


def _bandwidth(way: Way, machine: Machine, split: bool) -> tuple[float, Grade, str]:
    if way.bandwidth:
        return way.bandwidth, "assumed", "stated with the question"
    if split:
        port = next((d for d in machine.domains if d.role == "scale_out"), None)
        if port is not None:
            return float(port.bandwidth), "datasheet", f"{port.name} of {machine.id}"
        return NETWORK, "assumed", "a port of 400 Gb/s; --sync-link"
    fabric = next((d for d in machine.domains if d.role != "scale_out"), None)
    if fabric is not None:
        return float(fabric.bandwidth), "datasheet", f"{fabric.name} of {machine.id}"
    return float(machine.main.bandwidth), "datasheet", f"{machine.main.name} of {machine.id}: a copy on the device"


def to_host_seconds(scenario: Scenario, kept: float) -> float:
    """Seconds to bring what a device keeps to its host, or back.

    Raises:
        BadInput: for a machine without a link to its host.
    """
    machine = resolve(scenario.replace(serving=None)).machine
    link = next((k for k in machine.links if k.role == "host"), None)
    if link is None:
        raise BadInput(
            f"{machine.id} states no link to its host", expected="a link of role host", hint="--keep-states or --split"
        )
    return kept / float(link.bandwidth)
