"""What techniques about attention kernels share: which kernel a stack runs, and the records of kernels other than it.

A kernel for one query tile a thread block works through keys tile after tile. Where matrix instructions are synchronous the
block's products, its vector work (scaling, maxima, rescaling) and its exponentials follow one another; other blocks of the same
unit hide a part of that, which no source states as a number: the records here let them add in full.
"""

from __future__ import annotations

from typing import Any

from ..graph.ir import Op
from .subject import Subject
from .technique import Refusal, Settings

SLOT = "stack.kernel:sdpa"
TILE = 128  # queries of a thread block (FlashAttention-2, arXiv 2307.08691, §3.3: 64 or 128)
IN_TURN = ("matmul", "vector", "unit:transcendental")


def attention_ops(subject: Subject) -> list[Op]:
    return [op for _, op in subject.graph.ops() if op.fn == "sdpa"]


def attends(subject: Subject, settings: Settings) -> Refusal | None:
    """The graph has an attention the stack could run in another way."""
    return None if attention_ops(subject) else Refusal("the model has no softmax attention", "")


def written_out(subject: Subject) -> bool:
    """The stack writes the model's attention out as products and a softmax."""
    family = str(subject.graph.attrs.get("family", ""))
    rules = subject.stack.unfold
    for op in attention_ops(subject):
        rule = next((u for u in rules if u.applies(op.fn, op.name, family)), None)
        if rule is not None and [s.fn for s in rule.steps] != ["="]:
            return True
    return False


def measured(subject: Subject) -> bool:
    """The stack's attention kernels were measured: with the splits, the overlap and the instructions of their day."""
    stack = subject.stack
    variant = stack.variant("sdpa")
    plain = variant.efficiency is None and variant.blocks is None and not variant.rates
    return bool(stack.library) and plain and not written_out(subject)


def rates(subject: Subject) -> dict[str, float]:
    """What kernels without Hopper's own instructions reach of its matrix units."""
    from ..costs.families.attention import OLDER_INSTRUCTIONS, beyond_registers

    return {"matmul": OLDER_INSTRUCTIONS} if beyond_registers(subject.machine) else {}


def tiled(split: str = "1") -> str:
    """Thread blocks of a kernel that deals out sequences, heads and tiles of queries, each in ``split`` parts of its keys."""
    return f"seqs * heads * ceildiv(rows / seqs, {TILE}) * {split}"


def record(**figures: Any) -> dict[str, Any]:
    return {"variants": [{"fn": "sdpa|sdpa_backward", **figures}]}
