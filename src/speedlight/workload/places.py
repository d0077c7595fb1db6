"""Where inference keeps classes of tensors that are not on the device, and how a step comes by them.

A share of a class lies in the host's memory or on a disk (or is computed on in the device's own memory, where it lies). Of the bytes a step reads, ``use`` comes from there: as much as the
share, unless what is used often was kept on the device (hot neurons, cached experts: one minus the hit rate). Four ways:

* ``moved``: copied to the device, layer after layer, before they are used;
* ``direct``: the device's kernels read over the link as they compute (zero-copy);
* ``computed``: the processor beside that memory does their part of the op while the device does the rest (attention beside the
  keys and values, cold neurons, attention inside a disk);
* ``layers``: whole layers are computed there, in turn with the device's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._foundation.errors import BadInput

Value = Any  # float or numpy array

CLASSES = ("weights", "experts", "kv")
TIERS = ("host", "disk", "memory")
WAYS = ("moved", "direct", "computed", "layers")


@dataclass(frozen=True, slots=True)
class Place:
    """One class kept outside the device; every number broadcasts.

    Attributes:
        cls: ``weights`` (experts too, unless they have a place of their own), ``experts`` or ``kv``.
        tier: ``host``, ``disk``, or ``memory``: the device's own, beside which a processor computes (in-bank, on a logic die).
        share: of the class's bytes that are kept there, 0–1.
        use: of the bytes a step reads, what is read from there, 0–1; None for the share.
        way: one of :data:`WAYS`.
        slices: parts that a layer's bytes come in; two are on the device at a time (a head's keys and values: as many as heads).
        rate: bytes/s at which what computes there reads them, where that is not the tier's bandwidth (flash inside a disk, banks).
        intensity: FLOPs it does for each byte it could read meanwhile; None where nobody says: reading sets its pace (of a host,
            what its processor has).
        packed: bytes that lie there and cross for each of the tensor's (sparse or entropy-coded weights, unpacked on the device).
    """

    cls: str
    tier: str
    share: Value = 1.0
    use: Value | None = None
    way: str = "moved"
    slices: Value = 1.0
    rate: Value | None = None
    intensity: Value | None = None
    packed: Value = 1.0

    def __post_init__(self) -> None:
        for name, value, known in (("cls", self.cls, CLASSES), ("tier", self.tier, TIERS), ("way", self.way, WAYS)):
            if value not in known:
                raise BadInput(f"offload {name} {value!r}", expected="one of " + ", ".join(known))
        if self.tier == "memory" and (self.way != "computed" or self.rate is None):
            raise BadInput(
                f"{self.cls} in the device's own memory, {self.way}", expected="the way computed, and a rate"
            )

    @property
    def used(self) -> Value:
        """Share of the bytes read that comes from there."""
        return self.share if self.use is None else self.use


def places_of(words: Iterable[str | tuple[str, ...] | Place]) -> tuple[Place, ...]:
    """``weights:host``, ``kv:host:0.5``, ``kv:host:1:computed`` … → places.

    Raises:
        BadInput: for words that are none, and a class named twice.
    """
    found: dict[str, Place] = {}
    for word in words:
        place = word if isinstance(word, Place) else _place(word)
        if place.cls in found:
            raise BadInput(f"--offload says twice where {place.cls} goes", expected="one tier for each class")
        found[place.cls] = place
    return tuple(found.values())


def _place(word: str | tuple[str, ...]) -> Place:
    parts = word.split(":") if isinstance(word, str) else [str(part) for part in word]
    expected = f"CLASS:TIER[:SHARE[:WAY]] of {', '.join(CLASSES)}; {', '.join(TIERS)}; 0 to 1; {', '.join(WAYS)}"
    if not 2 <= len(parts) <= 4:
        raise BadInput(f"--offload {word}", expected=expected)
    try:
        share = float(parts[2]) if len(parts) > 2 else 1.0
        return Place(parts[0], parts[1], share, way=parts[3] if len(parts) > 3 else "moved")
    except (ValueError, BadInput):
        raise BadInput(
            f"--offload {':'.join(parts)}",
            expected=expected,
            hint="optimizer, gradients and activations: --phase train",
        ) from None
