"""FlashAttention: one kernel for scores, softmax and values."""

from __future__ import annotations

from ...attention_kernels import SLOT, attends, written_out
from ...conditions import every
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register

FUSED = [{"fn": "=", "out": "mixed", "of": ["q", "k", "v"]}]


def _apart(subject: Subject, settings: Settings) -> Refusal | None:
    return None if written_out(subject) else Refusal(f"{subject.stack.name} fuses attention already")


FLASH = register(Technique(
    name="flash-attention",
    title="FlashAttention (fused exact attention)",
    family="kernels",
    mechanism="tiles of scores are made, normalised and used on the chip, and made again in the backward pass: no N × N matrix in memory",
    papers=("flashattention", "fastattention"),
    citation="Dao et al., arXiv 2205.14135",
    edits=(Edit("stack", SLOT, lambda subject, settings: with_software(subject, {"unfold": [{"fn": "sdpa", "steps": FUSED}]})),),
    refuse=every(attends, _apart),
    exact=True,
))  # fmt: skip
