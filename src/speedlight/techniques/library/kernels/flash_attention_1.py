"""FlashAttention's first kernel, beside what the two after it changed."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...attention_kernels import IN_TURN, SLOT, attends, rates, record
from ...conditions import every, on_gpu
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Settings, Technique, register

KEYS = "16384 / qk_dim"  # keys of an outer step: 256 for heads of 64, 128 for heads of 128 elements (csrc of version 1, on A100)


def _first(subject: Subject, settings: Settings) -> Scenario:
    # Its outer loop runs over keys: queries, the unfinished result (read and written) come by once for each block of them.
    passes = f"max(1, ceildiv(keys / seqs, {KEYS}))"
    traffic = f"(2 + 3 * {passes}) / 4"
    return with_software(
        subject, record(blocks="seqs * heads", traffic=traffic, serial=list(IN_TURN), rates=rates(subject))
    )


FIRST = register(Technique(
    name="flash-attention-1-kernel",
    title="FlashAttention's first kernel",
    family="kernels",
    mechanism="blocks of keys outside, queries inside: unfinished results pass through memory, and a head of a sequence is one thread block",
    papers=("flashattention",),
    citation="Dao et al., arXiv 2205.14135, algorithm 1; arXiv 2307.08691, §3.1 for what it leaves undone",
    edits=(Edit("stack", SLOT, _first),),
    refuse=every(attends, on_gpu),
    exact=True,
    whatif=False,
    kernel_grade="assumed",
))  # fmt: skip
