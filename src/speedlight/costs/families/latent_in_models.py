"""Latent attention of a model as the mla fits see it: its attention kernel, and the products that fold weights into it.

Decoding attends in the absorbed form and a prompt in the expanded one, whose up-projection is a linear layer of its own
in the graph (and in the rows of TensorRT-LLM, which stacks here take; SGLang's include it). Left to the analytic cost:
other sizes than DeepSeek's, sparse attention, windows, prompts on top of cached tokens, several new tokens a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ..calibration.samples import View
from ..calibration.seen import SEERS, Seen
from ..cost import Conditions, Cost
from .in_models import at_point, cold, once, table_format
from .latent import KV_RANK, NOPE, ROPE, V_DIM, bmm_view, cached_in, decode_view, prefill_view
from .warm import COLD


@SEERS.register("mla")
def see_attention(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """The attention kernel; the cache comes cold."""
    facts, d = kernel.attrs, values.dims
    stored = table_format(facts.get("stored"))
    if kernel.phase != "forward" or stored is None or facts.get("topk") or facts.get("window"):
        return None
    if (facts.get("kv_rank"), facts.get("rope_dim")) != (KV_RANK, ROPE):
        return None
    stored = cached_in(stored, machine)
    decode = conditions.step == "decode"
    if decode and not np.all(d["rows"] == d["seqs"]):
        return None
    if not decode and ((facts["nope_dim"], facts["v_head_dim"]) != (NOPE, V_DIM) or np.any(d["keys"] > d["rows"])):
        return None

    def look(at: KernelValues) -> View:
        seqs = maximum(at.dims["seqs"], 1.0)
        new = maximum(at.dims["rows"] / seqs, 1.0)
        if decode:
            return decode_view(
                seqs, at.dims["heads"], maximum(at.dims["keys"] / seqs - new, 0.0), stored, machine, COLD
            )
        return prefill_view(seqs, at.dims["heads"], new, 0.0, stored, machine)

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        found = again(at).coords
        return cold(found) if decode else found  # a prompt's operands are what the kernels before it left

    first, again = once(look, values)
    terms = at_point(first.terms, point, conditions, ("memory", "reread", "lane"), ("launch", "tiles"))
    main = machine.main.resource
    resources = {"matmul": "matmul", "memory": main, "lane": main, "reread": "cache"}
    return Seen(
        "mla_decode" if decode else "mla_prefill",
        terms,
        coords,
        {"format": stored},
        resources,
    )


@SEERS.register("bmm")
def see_product(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """One small product a head, into the latent space or out of it; its weights come cold."""
    sides = {(KV_RANK, NOPE): "mla_gen_pre", (V_DIM, KV_RANK): "mla_gen_post"}
    d = values.dims
    if kernel.phase != "forward" or np.ndim(d["n"]) or np.ndim(d["k"]) or not kernel.work:
        return None
    op, weights = sides.get((d["n"], d["k"])), table_format(kernel.work[0].format)
    if op is None or weights is None:
        return None

    def look(at: KernelValues) -> View:
        return bmm_view(
            maximum(at.dims["m"], 1.0), maximum(at.dims["batch"], 1.0), op == "mla_gen_pre", weights, machine, COLD
        )

    def coords(at: KernelValues, under: Conditions) -> Mapping[str, Value]:
        return cold(again(at).coords)

    first, again = once(look, values)
    terms = at_point(first.terms, point, conditions, ("memory", "convert"))
    resources = {"matmul": "matmul", "memory": machine.main.resource}
    return Seen("mla_bmm", terms, coords, {"format": weights, "op": op}, resources)
