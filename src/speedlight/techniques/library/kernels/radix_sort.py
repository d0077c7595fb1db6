"""Radix sort in two memory operations a key and pass, or three."""

from __future__ import annotations

from ...edits import with_kernel
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register

SLOT = "stack.kernel:radix_sort"


def _sorts(subject: Subject, settings: Settings) -> Refusal | None:
    if any(op.fn == "radix_sort" for _, op in subject.graph.ops()):
        return None
    return Refusal("nothing is sorted by radix")


ONESWEEP = register(Technique(
    name="onesweep-sort",
    title="Onesweep radix sort",
    family="kernels",
    mechanism="digits' prefix sums are found in the same pass that moves the keys: each pass reads and writes them once",
    papers=("onesweep",),
    citation="Adinets and Merrill, arXiv 2206.01784",
    edits=(Edit("stack", SLOT, lambda s, settings: with_kernel(s, "radix_sort", traffic=1)),),
    refuse=_sorts,
    exact=True,
))  # fmt: skip

TWO_READS = register(Technique(
    name="two-read-sort",
    title="Radix sort with a counting pass before each moving pass",
    family="kernels",
    mechanism="each digit's keys are read to be counted, then read and written: three memory operations a key instead of two",
    papers=(),
    citation="arXiv 2206.01784, §2.2, of reduce-then-scan sorts",
    edits=(Edit("stack", SLOT, lambda s, settings: with_kernel(s, "radix_sort", traffic=1.5)),),
    refuse=_sorts,
    exact=True,
    whatif=False,
))  # fmt: skip
