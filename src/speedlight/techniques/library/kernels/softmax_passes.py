"""Softmax over rows that leave the chip: in two passes over memory, or three."""

from __future__ import annotations

from ...conditions import every, has
from ...edits import with_kernel
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register

SLOT = "stack.kernel:softmax"


def _long_rows(subject: Subject, settings: Settings) -> Refusal | None:
    """Rows that a cache holds are read from memory once, however often they are looked at."""
    return None if not subject.gpu else Refusal("a thread block keeps its rows on the chip", "it is for CPUs")


# One read and one write are the least; each further pass reads the row again.
TWO = register(Technique(
    name="two-pass-softmax",
    title="Two-pass (online) softmax",
    family="kernels",
    mechanism="maximum and sum in one pass by rescaling, or by a running exponent; then the results: rows are read twice, not three times",
    papers=("the-two-pass-softmax-algorithm",),
    citation="Dukhan and Ablavatski, arXiv 2001.04438; Milakov and Gimelshein, arXiv 1805.02867",
    edits=(Edit("stack", SLOT, lambda s, settings: with_kernel(s, "softmax", traffic=1.5)),),
    refuse=every(has("softmax"), _long_rows),
    exact=True,
    whatif=False,
))  # fmt: skip

THREE = register(Technique(
    name="three-pass-softmax",
    title="Three-pass softmax",
    family="kernels",
    mechanism="a pass for the maximum, one for the sum, one for the results: rows longer than the caches are read three times",
    papers=(),
    citation="arXiv 2001.04438, algorithm 1",
    edits=(Edit("stack", SLOT, lambda s, settings: with_kernel(s, "softmax", traffic=2.0)),),
    refuse=every(has("softmax"), _long_rows),
    exact=True,
    whatif=False,
))  # fmt: skip
