"""Runs the plan: point after point, each written when it is done; whatever cannot be measured here is noted and left out."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._foundation.errors import MissingDependency
from .accelerator import WORTH, on_device, recordable, waiting
from .allocator import steady
from .context import busy, moment
from .evidence import Evidence, Measurement, measurement, write
from .operators import operator, setting
from .point import Point
from .streams import stream
from .timing import Timed, timed

SECONDS = 0.35  # for a point, at most
PATIENCE = 270.0  # seconds for measuring again
AGAIN = ("launch", "stream", "operator")  # sorts that others' loads disturb


def measure(
    plan: Sequence[Point], evidence: Evidence, path: Path | None, *, device: str = "cpu", seconds: float = SECONDS,
    patience: float = PATIENCE, tell: Callable[[int, int, Point, Measurement | str], None] = lambda *_: None,
) -> Evidence:  # fmt: skip
    """Measure what the evidence lacks; then all of it once more, for what others slowed down meanwhile: the faster counts.

    Others (guests of the same host, two threads on one processor) lengthen times for seconds on end, and neither load nor stolen time
    tells. What is measured again minutes later meets them elsewhere.

    Args:
        path: where to keep the evidence after each point; None for nowhere.
        seconds: for each point, at most.
        patience: seconds for measuring again, in all.
        tell: called with (number, of how many, point, what was found or why nothing was); a second look is a number of its own.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependency("torch", "torch", WORTH) from None
    steady()

    def keep(changed: Evidence) -> Evidence:
        if path is not None:
            write(path, changed)
        return changed

    left = [p for p in plan if p.name not in evidence.done()]
    twice = [p for p in left if device == "cpu" and p.sort in AGAIN]
    many = len(left) + len(twice)
    for number, point in enumerate(left, 1):
        try:
            found: Measurement | str = _one(point, device, seconds)
        except (ImportError, RuntimeError, OSError, MemoryError, NotImplementedError) as error:
            found = f"{type(error).__name__}: {error}"[:200]
        if isinstance(found, str):
            evidence = dataclasses.replace(evidence, failed={**evidence.failed, point.name: found})
        else:
            evidence = dataclasses.replace(evidence, points=(*evidence.points, found))
        evidence = keep(dataclasses.replace(evidence, complete=evidence.complete or number == len(left)))
        tell(number, many, point, found)
    until = time.perf_counter() + patience
    for number, point in enumerate(twice, len(left) + 1):
        if time.perf_counter() > until:
            break
        if point.name not in evidence.failed:
            found = _one(point, device, seconds)
            if found.median < evidence.point(point.name).median:
                evidence = keep(evidence.with_point(found))
            tell(number, many, point, found)
    return evidence


def _one(point: Point, device: str, seconds: float) -> Measurement:
    before, start = moment(), time.perf_counter()
    moved, alone = 0.0, False
    if point.sort == "stream":
        loop, moved = stream(point.op, int(point.sizes["working_set"]))
        result = timed(loop, seconds=seconds)
    elif point.sort == "operator":
        with recordable(device):
            run = operator(point.op, point.sizes, device)
            with setting(point.sizes):
                result, alone = on_device(run, device, seconds)
    elif point.sort == "launch":
        run = operator(point.op, point.sizes, device)
        with setting(point.sizes):
            result = timed(run, seconds=seconds, wait=waiting(device))
    elif point.sort == "transfer":
        result, moved = _transfer(point.op, point.sizes, device, seconds), float(point.sizes["bytes"])
    elif point.sort == "disk":
        result, moved = _disk(point.op, int(point.sizes["bytes"]), seconds), float(point.sizes["bytes"])
    else:
        from .messages import message

        result, moved = message(point.op, point.sizes, seconds), float(point.sizes["bytes"])
    after = moment()
    warning = busy(before, after, time.perf_counter() - start)
    return measurement(
        point.name, point.sort, point.op, point.sizes, result, moved=moved, moment=after, warning=warning, alone=alone
    )


def _transfer(direction: str, sizes: Mapping[str, Any], device: str, seconds: float) -> Timed:
    import torch

    host = torch.empty(int(sizes["bytes"]), dtype=torch.uint8, pin_memory=bool(sizes["pinned"]))
    far = torch.empty(int(sizes["bytes"]), dtype=torch.uint8, device=device)
    one, other = (far, host) if direction == "to" else (host, far)
    return timed(lambda: one.copy_(other, non_blocking=bool(sizes["pinned"])), seconds=seconds, wait=waiting(device))


def _disk(op: str, size: int, seconds: float) -> Timed:
    """A file of the temporary folder, written through to the disk, or read past the page cache where the system lets one."""
    block = os.urandom(2**20)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "block"

        def save() -> None:
            with path.open("wb") as stream:
                for _ in range(size // len(block)):
                    stream.write(block)
                stream.flush()
                os.fsync(stream.fileno())

        if op == "write":
            return timed(save, seconds=3 * seconds, once=True)
        save()

        def load() -> None:
            with path.open("rb", buffering=0) as stream:
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while stream.read(2**22):
                    pass

        return timed(load, seconds=3 * seconds, once=True)
