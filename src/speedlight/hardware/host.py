"""A host around a device that states none: what offloading needs to have a place to go.

Files of single cards state their link to a host and nothing of the host. Where a question keeps something outside the device, the
card is taken to sit in a host of the kind servers have, every figure graded ``assumed`` and listed with the answer; overrides
(``tiers.host.bandwidth``) change it.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

from .._foundation.provenance import Assumption, Fact
from .machine import Engine, Machine, Peak, Tier

# A device's part of a DGX H100's host: 2,000 GB and 614 GB/s for eight.
MEMORY_BYTES, MEMORY_RATE = 250e9, 76.75e9
# One NVMe disk of PCIe 4.0 x4 a device: 3.84 TB, sequential reads.
DISK_BYTES, DISK_RATE = 3.84e12, 7.0e9
# FLOPs a server's cores do in the time their memory brings a byte: an EPYC 7763's 3.5 TFLOP/s in fp32 over 204.8 GB/s.
FLOPS_PER_BYTE = 17.0
_WHY = {
    "host": "a device's part of a DGX H100's host memory; set tiers.host.bandwidth and tiers.host.capacity_bytes",
    "nvme": "one NVMe disk of PCIe 4.0 x4; set tiers.nvme.bandwidth and tiers.nvme.capacity_bytes",
    "cpu": "17 FLOP for each byte of host memory bandwidth, as an EPYC 7763 has",
}


def with_host(machine: Machine, devices: float = 1.0) -> tuple[Machine, list[Assumption]]:
    """The machine with host memory, a disk and a host processor, as far as it states none.

    Args:
        devices: in its box; each adds its part.
    """
    if not any(link.role == "host" for link in machine.links):
        return machine, []  # it has no host: whoever asks for one hears so
    roles = {tier.role for tier in machine.tiers}
    tiers: list[Tier] = []
    if "host" not in roles:
        tiers.append(Tier("host", "host", MEMORY_BYTES * devices, MEMORY_RATE * devices, 1e-7, resource="host_dram"))
    if "storage" not in roles:
        tiers.append(Tier("nvme", "storage", DISK_BYTES * devices, DISK_RATE * devices, 8e-5, 4096.0, resource="disk"))
    engines: list[Engine] = []
    if host_engine(machine) is None:
        memory = next(t for t in (*machine.tiers, *tiers) if t.role == "host")
        peak = Peak("vector", "fp32", "fp32", FLOPS_PER_BYTE * memory.bandwidth)
        engines.append(Engine("cpu", "cores", 1.0, 1e9, (peak,)))
    notes: list[Assumption] = []
    facts: dict[str, Fact] = {}
    for tier in tiers:
        for field in ("bandwidth", "capacity_bytes"):
            facts[f"tiers.{tier.name}.{field}"] = Fact(getattr(tier, field), "assumed", _WHY[tier.name])
        notes.append(
            Assumption(
                f"{tier.name} memory" if tier.role == "host" else "disk",
                f"{tier.capacity_bytes / 1e9:,.0f} GB at {tier.bandwidth / 1e9:.4g} GB/s", "assumed", _WHY[tier.name],
            )
        )  # fmt: skip
    if engines:
        notes.append(
            Assumption("host processor", f"{engines[0].peaks[0].flops / 1e12:.3g} TFLOP/s", "assumed", _WHY["cpu"])
        )
    made = dataclasses.replace(
        machine, tiers=(*machine.tiers, *tiers), engines=(*machine.engines, *engines),
        facts=MappingProxyType({**machine.facts, **facts}),
    )  # fmt: skip
    return made, notes


def host_engine(machine: Machine) -> Engine | None:
    """The host's processor, where a machine states one beside its own engine."""
    return next((e for e in machine.engines[1:] if e.kind == "cores"), None)
