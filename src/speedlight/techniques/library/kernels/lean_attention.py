"""Lean attention: decode attention dealt out in stream-K tiles, an equal share of all contexts to each unit."""

from __future__ import annotations

from ...attention_kernels import SLOT, attends, record
from ...conditions import every, on_gpu
from ...edits import with_software
from ...technique import Edit, Technique, register
from .flash_decoding import split_already

LEAN = register(Technique(
    name="lean-attention",
    title="LeanAttention (stream-K decode attention)",
    family="kernels",
    mechanism="rescaling of the softmax is an associative sum: every unit gets as many tiles of context as any other, in one kernel",
    papers=("lean-attention",),
    citation="Sanovar et al., arXiv 2405.10480",
    # As many blocks as it likes: each unit has the same share of the work, and no second kernel sums up.
    edits=(Edit("stack", SLOT, lambda subject, settings: with_software(subject, record(efficiency=1.0))),),
    refuse=every(attends, on_gpu, split_already),
    exact=True,
    kernel_grade="assumed",
))  # fmt: skip
