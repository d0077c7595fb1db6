"""What each source of published training figures means by its columns.

A row states one step in several ways: seconds, tokens or samples a second, FLOP/s, a share of some peak. All of them are one
time; how it turns into the others differs by source:

* *attention*: whether query–key products count as if nothing were masked (``dense``) or the unmasked half (``causal``);
* *recompute*: whether the forward pass that is computed again counts as work (HFU-like) or not;
* *embedding*: whether 6·N takes the input embedding along, which multiplies nothing.

Reasons stand beside each entry; where a row gives tokens and FLOP/s, both were compared (tests/unit/test_training_sources.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..._foundation.errors import UnknownName


@dataclass(frozen=True, slots=True)
class Source:
    """One source of rows.

    Attributes:
        name: what reports call it.
        prefix: pattern of its rows' ``case_id``.
        attention: ``dense`` or ``causal``.
        recompute: what is computed again counts in ``tflops_per_gpu`` and ``mfu``.
        embedding: the input embedding counts.
        selective: forward attention passes that selective recomputation adds to HFU.
        zero: ZeRO stage of rows that say nothing.
        sequence_parallel: tensor parallelism comes with sequence parallelism.
        gradients: format gradients are kept and reduced in, where not the weights'.
        filled: sequence length → mean share of it that holds tokens, where sequences are binned by length or packed.
        reason: how that is known.
    """

    name: str
    prefix: str
    attention: str
    recompute: bool = False
    embedding: bool = False
    selective: float = 1.0
    zero: int = 0
    sequence_parallel: bool = False
    gradients: str = ""
    filled: tuple[tuple[float, float], ...] = ()
    reason: str = ""


SOURCES = (
    Source(
        "sc21", r"sc21-", "dense", recompute=True,
        reason="arXiv 2104.04473 equation 3: 96 B s l h² (1 + s/6h + V/16lh), four thirds of the layers' forward and "
        "backward FLOPs; megatron/model/distributed.py reduces fp16 gradients as they are unless told otherwise",
    ),
    Source(
        "seqsel", r"seqsel-", "dense", selective=3.0, gradients="fp32",
        reason="arXiv 2205.05198 appendix A: 72 B s l h² (1 + s/6h + v/12lh), and s/3h for hardware FLOPs of selective "
        "recomputation; its MFU column follows from its seconds",
    ),
    Source(
        "megatron-core", r"mcore-|mlm-", "dense", zero=1, sequence_parallel=True, gradients="fp32",
        reason="megatron/training/training.py, num_floating_point_operations: s/h without a mask; Llama rows give 57.9 "
        "GFLOP a token at 8,192, as tokens and FLOP/s confirm",
    ),
    Source(
        "nemo", r"nemo-", "dense", zero=1, sequence_parallel=True,
        reason="nemo/utils/flops_formulas.py up to 25.04: 12 s/h without a mask; 24.07 rows give tokens and FLOP/s, which agree",
    ),
    Source(
        "megatron-bridge", r"mbridge-", "causal", zero=1, sequence_parallel=True,
        reason="later flops formulas halve attention (causal_self_attn); rows give 51.5 GFLOP a token for Llama 3 8B at 8,192, "
        "6 · 7.50 B + 6 l h s",
    ),
    Source(
        "llm-foundry", r"llmfoundry-", "dense", zero=3,
        reason="README of scripts/train/benchmarking: 6 N s + 12 L d s² a sequence; N has the tied embedding once",
    ),
    Source(
        "torchtitan", r"torchtitan-", "dense", embedding=True, zero=3, sequence_parallel=True, gradients="fp32",
        reason="12 l h q t and 6 N with the embedding: the A100 rows' MFU follows from their tokens only so",
    ),
    Source(
        "maxtext", r"maxtext-", "dense", embedding=True, zero=3,
        reason="calculate_tflops of the time: 6 times all parameters, 12 l h d s² without a mask (rows' notes)",
    ),
    Source(
        "deeplearningexamples", r"dle-", "dense", filled=((512.0, 0.5),),
        reason="sequences and images a second only; sequences of the second phase are binned by length, half full on average "
        "(assumed: counted as 512 tokens they would run at 74 % of the peak)",
    ),
    Source("stas", r"stas-", "dense", reason="seconds only"),
)  # fmt: skip


def source_of(case_id: str) -> Source:
    """The source of a row.

    Raises:
        UnknownName: for a row of none.
    """
    for source in SOURCES:
        if re.match(source.prefix, case_id):
            return source
    raise UnknownName("source of training rows", case_id, [s.name for s in SOURCES])
