"""How a stack brings to the device what is kept outside it: what it overlaps, stages, faults on and waits for.

``attrs: {offload: {…}}`` of a stack file. Without it a stack copies from pinned memory one layer ahead, beside the computing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .._foundation.errors import BadFile

Value = Any  # float or numpy array


@dataclass(frozen=True, slots=True)
class Transfers:
    """One stack's ways.

    Attributes:
        ahead: the next layer's bytes come while this one computes; otherwise a layer waits for its own.
        piped: the parts of a path (disk, host memory, link) work at once; otherwise one after the other.
        passes: times a byte passes through the host's memory on its way: 1 from pinned memory; 3 where it is read, written to a
            pinned buffer and read again.
        copy: bytes/s at which a host thread fills that buffer; 0 where none does.
        bypass: a disk's bytes reach the device without the host's memory.
        wait_s: host seconds around each layer (hooks, allocation) that nothing hides.
        page_bytes, fault_s, faults: of demand-paged memory: bytes a fault brings, its seconds, and how many are served at once; 0
            for none.
        update: share of the host memory's bandwidth at which the host's optimizer step goes through states (training); 1 where
            its arithmetic keeps up.
    """

    ahead: bool = True
    piped: bool = True
    passes: Value = 1.0
    copy: Value = 0.0
    bypass: bool = False
    wait_s: Value = 0.0
    page_bytes: Value = 0.0
    fault_s: Value = 0.0
    faults: Value = 1.0
    update: Value = 1.0


def transfers_of(attrs: Mapping[str, Any]) -> Transfers:
    """A stack's ways from its ``attrs``.

    Raises:
        BadFile: for a word that none of them is.
    """
    stated = dict(attrs.get("offload", {}))
    known = [f.name for f in fields(Transfers)]
    wrong = sorted(set(stated) - set(known))
    if wrong:
        raise BadFile(f"a stack's attrs.offload has the field {wrong[0]!r}", expected="one of " + ", ".join(known))
    return Transfers(**stated)
