"""Decode attention dealt out by sequence and head alone: the baseline of split-context kernels."""

from __future__ import annotations

from ...attention_kernels import SLOT, attends, record
from ...conditions import every, on_gpu
from ...edits import with_software
from ...technique import Edit, Technique, register

# A tile of keys or of values is on its way while the one before is worked on: 64 × 128 or 128 × 64 elements of two bytes
# (the tiles of FlashAttention-2's forward kernels for heads of 128 and 64).
TILE_BYTES = 16384

UNSPLIT = register(Technique(
    name="unsplit-decode-attention",
    title="Decode attention without splits of the context",
    family="kernels",
    mechanism="one thread block a head and sequence walks through the whole context: with few of them most units stand idle",
    papers=(),
    citation="FlashAttention-2, arXiv 2307.08691, §3.2, run with one query",
    edits=(Edit("stack", SLOT, lambda subject, settings: with_software(subject, record(blocks="seqs * heads", in_flight=TILE_BYTES))),),
    refuse=every(attends, on_gpu),
    exact=True,
    whatif=False,
    kernel_grade="assumed",
))  # fmt: skip
