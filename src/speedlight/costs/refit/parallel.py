"""Independent fits side by side, one process a core; data are shared by forking, never copied."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

_work: Callable[[Any], Any] | None = None


def side_by_side(work: Callable[[Any], T], items: Sequence[Any]) -> Iterator[T]:
    """``work`` of each item, in order. One after another where the system cannot fork or has one core."""
    global _work
    cores = int(os.environ.get("SPEEDLIGHT_CORES", "0")) or len(os.sched_getaffinity(0)) if hasattr(os, "fork") else 1
    if cores == 1 or len(items) < 2 or multiprocessing.parent_process() is not None:
        yield from map(work, items)
        return
    _work = work
    try:
        with multiprocessing.get_context("fork").Pool(min(cores, len(items))) as pool:
            yield from pool.imap(_run, items)
    finally:
        _work = None


def _run(item: Any) -> Any:
    assert _work is not None
    return _work(item)
