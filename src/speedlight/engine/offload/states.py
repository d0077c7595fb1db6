"""States and activations kept outside the device: their transfers, the update beside them, where they lie.

* ``activations``: what a block saves goes out behind its forward pass and comes back ahead of its backward pass.
* ``weights``: a rank's part comes in ahead of each block, forward and backward, for every micro-batch (ZeRO-Infinity,
  arXiv 2104.07857 §5).
* ``gradients``: leave behind each micro-batch's backward pass.
* ``optimizer``: the host updates where the states are: gradients go out behind the backward pass, the host's memory streams
  states, gradients and weights once, new weights come back (ZeRO-Offload, arXiv 2101.06840 §4). From a disk the states come
  and go beside that.

A transfer occupies its whole path (DESIGN decision 6): the link to the host, each way on its own; the host's memory; the
disk. Devices of a box share the box's memory and disks evenly. The host's arithmetic is taken to keep up with its memory, unless
the stack says at which share of its bandwidth its update goes (``attrs: {offload: {update: …}}``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, maximum
from ..._foundation.errors import BadInput
from ..._foundation.expr import const
from ...costs.cost import Cost, bound_of, largest
from ...hardware.machine import Link, Machine, OperatingPoint, Tier
from ...lowering.kernels import Kernel
from ...workload.workload import Training
from ..steps.evaluate import PricedKernel

ROLES: Mapping[str, str] = {"host": "host", "disk": "storage"}


@dataclass(frozen=True, slots=True)
class Outside:
    """The way from one device to its host's memory and disks.

    Attributes:
        where: class → tier role (``host``, ``storage``) of what is kept outside.
        link: to the host.
        tiers: role → tier of the box.
        sharing: devices of the box.
    """

    where: Mapping[str, str]
    link: Link
    tiers: Mapping[str, Tier]
    sharing: Value

    def room(self) -> dict[str, Value]:
        """Tier role → bytes a device may take."""
        return {role: tier.capacity_bytes / self.sharing for role, tier in self.tiers.items()}

    def move(
        self, name: str, cls: str, into: Value, out: Value, count: Value, phase: str, machine: Machine, point: OperatingPoint
    ) -> PricedKernel:  # fmt: skip
        """Bytes of a class into the device and out of it, ``count`` times."""
        busy: dict[str, Value] = {
            f"link:{self.link.name}": maximum(into, out) / (self.link.bandwidth * point.fabric_clock)
        }
        self._memory(busy, self.where[cls], into + out)
        return _priced(name, "offload", busy, self.link.latency_s, count, phase, machine)

    def update(
        self, states: Value, moved: Value, machine: Machine, point: OperatingPoint, here: Value = 0.0, pace: Value = 1.0
    ) -> PricedKernel:  # fmt: skip
        """The host's update of a rank's parameters, and beside it the device's of a share of them.

        Args:
            states: bytes of optimizer states, each read and written.
            moved: bytes of gradients read and weights written.
            here: share whose states come to the device and go back, over the link each way on its own; they pass through the
                host's memory all the same.
            pace: share of its memory's bandwidth that the host's arithmetic goes through states at.
        """
        busy: dict[str, Value] = {}
        self._memory(busy, self.where["optimizer"], 2 * states)
        if np.any(here):
            busy[f"link:{self.link.name}"] = states * here / (self.link.bandwidth * point.fabric_clock)
        host = self.tiers.get("host")
        if host is not None:
            rate = host.bandwidth / self.sharing
            busy[host.resource] = busy.get(host.resource, 0.0) + moved * (1 - here) / rate
            if np.any(np.asarray(pace) < 1):
                busy["host"] = (2 * states + moved) * (1 - here) / (rate * pace)
        return _priced("optimizer.update", "adam", busy, 0.0, 1.0, "optimizer", machine)

    def _memory(self, busy: dict[str, Value], role: str, amount: Value) -> None:
        for at in {"host", role} & set(self.tiers):
            tier = self.tiers[at]
            spent = amount / (tier.bandwidth / self.sharing)
            busy[tier.resource] = busy.get(tier.resource, 0.0) + spent


def outside(training: Training, machine: Machine) -> Outside | None:
    """Where a training step keeps what it offloads; None where it keeps all on the device.

    Raises:
        BadInput: for a machine that states no link to its host, or no such memory.
    """
    if not training.offload:
        return None
    link = next((k for k in machine.links if k.role == "host"), None)
    if link is None:
        raise BadInput(f"{machine.id} states no link to its host", expected="a link of role host in its spec file")
    where = {cls: ROLES[tier] for cls, tier in training.offload}
    tiers = {t.role: t for t in machine.tiers if t.role in ROLES.values()}
    for cls, role in where.items():
        if role not in tiers:
            word = "host memory" if role == "host" else "disk"
            raise BadInput(
                f"{machine.id} states no {word}, so --offload {cls} has nowhere to go", expected=f"a tier of role {role}",
                hint="name a system (dgx-h100), or add the tier to your own machine file",
            )  # fmt: skip
    if "kv" in where:
        raise BadInput("--offload kv in a training step", expected="optimizer, gradients, weights or activations")
    sharing = machine.domains[0].size if machine.domains else 1.0
    return Outside(where, link, tiers, sharing)


def _priced(
    name: str, fn: str, busy: dict[str, Value], latency: Value, count: Value, phase: str, machine: Machine
) -> PricedKernel:  # fmt: skip
    kernel = Kernel(
        name=name, path=name, kind="copy", fn=fn, family="stream", members=(name,), work=(), accesses=(), dims={},
        count=const(1), workspace=const(0), phase=phase,
    )  # fmt: skip
    time = largest(busy) + latency
    cost = Cost(
        busy=busy, least=dict(busy), latency=latency, time=time, limit=largest(busy), bound=bound_of(machine, busy, busy, latency),
        flops=0.0, dense=0.0, bytes=0.0, error_key=("offload", machine.device_id, ""),
    )  # fmt: skip
    return PricedKernel(kernel, cost, count)
