"""ZeRO-Offload: on the device 16-bit weights and activations, on the host gradients, 32-bit weights and moments.

Of 16 bytes a parameter (2 of weights, 2 of gradients, 12 of states) 2 stay. What a card trains grows by what that leaves; its rate
is that of the kernels, less what of the host's update and of the link shows.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

CARD = "v100-sxm3-32gb"


def _left(bench: Bench) -> list[float]:
    """Bytes of a card for model states."""
    capacity = float(bench.machine(bench.given("machine", CARD)).main.capacity_bytes)
    return [capacity - spare for spare in bench.unstated("bytes of activations, buffers and the runtime", (2e9, 5e9))]


@derives("zero-offload#1")
def largest(bench: Bench) -> Finding:
    """2 bytes a parameter on the card."""
    each = bench.size(bench.given("bytes a parameter on the device", 2.0))
    return over(
        [exactly(left / each / 1e9) for left in _left(bench)],
        "16-bit weights alone beside activations, in billions of parameters",
    )


@derives("zero-offload#2")
def growth(bench: Bench) -> Finding:
    """Against all 16 bytes, or 18 and 20 where frameworks keep gradients in 32 bits as well."""
    spans = []
    for whole in bench.unstated("bytes a parameter without offload", (16.0, 18.0, 20.0)):
        spans.append(exactly(bench.size(whole) / bench.given("bytes a parameter on the device", 2.0)))
    return over(spans, "bytes a parameter on the card without and with offload")


@derives("zero-offload#3")
def rate(bench: Bench) -> Finding:
    """A model of about 10 B parameters: between the 7.5 B and the 13 B whose shapes are bundled."""
    bench.stated(machine=CARD, model="10B")
    spans = []
    for model in bench.unstated("model shape", ("megatron-7.5b", "opt-13b"), "the two nearest 10 B"):
        for batch in bench.unstated("batch", (8, 16)):
            p = bench.ask(
                model, CARD, ["optimizer-offload"], phase="train", batch=batch, isl=1024, recompute="full", stack="deepspeed",
                dtype="fp16",
            )  # fmt: skip
            spans.append(bench.time(p).mapped(lambda t, p=p: float(p.flops) / t / 1e12))  # type: ignore[misc]
    return over(
        spans,
        "a step's model FLOPs over its time: kernels at what V100s were measured to reach, update and link where they show",
    )


@derives("zero-offload#4")
def baseline(bench: Bench) -> Finding:
    """PyTorch alone at its largest model. A weak baseline: small micro-batches and unfused kernels."""
    bench.stated(machine=CARD, model="1.4B")
    spans = []
    for batch in bench.unstated("batch", (1, 4)):
        for again in bench.unstated("recompute", ("none", "full")):
            p = bench.ask(
                "gpt2-xl",
                CARD,
                phase="train",
                batch=batch,
                isl=1024,
                recompute=again,
                stack="torch-eager",
                dtype="fp16",
            )
            spans.append(bench.time(p).mapped(lambda t, p=p: float(p.flops) / t / 1e12))  # type: ignore[misc]
    return over(
        spans,
        "GPT-2 XL, the bundled model nearest 1.4 B, in eager PyTorch; a gap to the claim is the baseline's own software",
    )


@derives("zero-offload#6")
def node(bench: Bench) -> Finding:
    """A DGX-2 with model parallelism: the host's memory holds what the cards do not."""
    system = bench.machine(bench.given("machine", "dgx-2"))
    host = next(t for t in system.tiers if t.role == "host")
    spans = []
    for outside in bench.unstated(
        "bytes a parameter on the host", (16.0, 18.0, 20.0), "gradients and states, with or without copies"
    ):
        held = float(host.capacity_bytes) / bench.size(outside) / 1e9
        inside = 16 * (float(system.main.capacity_bytes) - 8e9) / bench.size(2.0) / 1e9
        spans.append(exactly(min(held, inside)))
    return over(spans, "parameters whose states fit the host's 1.5 TB, in billions; the cards would hold more weights")


@derives("zero-offload#7")
def node_growth(bench: Bench) -> Finding:
    """Against model parallelism alone on the same 512 GB."""
    found = node(bench)
    cards = 16 * float(bench.machine("dgx-2").main.capacity_bytes)
    spans = []
    for whole in bench.unstated("bytes a parameter of model parallelism", (16.0, 20.0)):
        for spare in bench.unstated("share of a card that activations take", (0.2, 0.5)):
            alone = cards * (1 - spare) / bench.size(whole) / 1e9
            spans += [exactly(found.low / alone), exactly(found.high / alone)]
    return over(spans, "the largest model of claim 6 over what 16 cards hold without the host")
