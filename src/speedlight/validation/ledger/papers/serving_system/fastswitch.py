"""FastSwitch: a preempted request's blocks cross the link in few large copies, beside the steps of the others.

Blocks of one layer each are small: every copy waits for the link's latency once, and what is decoded meanwhile waits for all of them. The
tail of the gap between tokens is a step with a switch in it.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

BLOCK, BATCH = 16, 32


@derives("fastswitch#1")
def tails(bench: Bench) -> Finding:
    """A gap with a switch of context in it, before over after."""
    spans = []
    for model, machine, layers in bench.unstated(
        "model, machine, layers", (("llama-3.1-8b", "a10", 32), ("qwen2.5-32b", "a100-sxm-80gb", 64))
    ):
        spec = bench.machine(machine)
        link = next(k for k in spec.links if k.role == "host")
        token = float(bench.facts(model)["kv_bytes_per_token"])
        step = bench.ask(model, machine, phase="decode", batch=BATCH, context=1000, stack="vllm")
        for share in bench.unstated("share of the batch that is switched", (0.125, 0.5), "by priorities that change"):
            blocks = share * BATCH * 1000 / BLOCK
            carried = token * BLOCK / float(link.bandwidth)
            before = blocks * (carried + 2 * layers * float(link.latency_s))
            for hidden in bench.unstated("what is moved hides behind steps", (False, True)):
                after = 0.0 if hidden else blocks * (carried + float(link.latency_s))
                low, value, high = (
                    ((t + before) / (t + after)) for t in (float(step.high), float(step.time), float(step.low))
                )
                spans.append(Span(low, value, high, (float(step.limit) + before) / float(step.limit)))
    return over(
        spans,
        "a decode step with the switched sequences' blocks copied two a layer, against one copy a block, beside the steps or not",
    )
