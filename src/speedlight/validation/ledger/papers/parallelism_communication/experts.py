"""Experts' messages: fewer all-to-alls and fewer tokens in them (ExFlow, MoETuner), or beside computation (ScMoE).

How many tokens stay follows from how experts are used, which no abstract states; the walk is over what placement by use can do. ScMoE
states the messages' share of the expert layers and how much of it hides: the gain then depends on the layers' part of a step.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from ._shared import at_most

EXFLOW = "exploiting-inter-layer-expert-affinity-for-accelerating-mixt"
SCMOE = "shortcut-connected-expert-parallelism-for-accelerating-mixtu"


@derives(f"{EXFLOW}#1")
def one_for_two(bench: Bench) -> Finding:
    """All-to-alls of a layer when tokens go straight to the next layer's experts."""
    usual = bench.size(2.0)  # to the experts and back
    back = 1.0  # with all tokens' context on every rank nothing needs to come back
    return over([Span(usual - back, usual - back, usual - back)], "to the experts and back, less the way back")


@derives(f"{EXFLOW}#2")
def fewer_leave(bench: Bench) -> Finding:
    """Seconds of tokens on their way, per cent less: of an even spread 1 − 1/n leave their GPU."""
    spans = []
    for ranks in bench.unstated("ranks", (4, 8, 16)):
        for stays in bench.unstated("share that stays", (0.4, 0.55, 0.7), "placement by affinity"):
            less = 100 * (1 - (1 - stays) / (1 - bench.size(1.0) / ranks))
            spans.append(Span(less, less, less, 100.0))
    return over(spans, "(token, expert) pairs that leave their GPU, against an even spread")


def _placed(
    bench: Bench, label: str, models: tuple[str, ...], machine: str, ranks: int, walks: tuple[float, ...],
    stacks: tuple[str, ...],
) -> list[Span]:  # fmt: skip
    """Prompts with experts over all ranks, with tokens placed by use over an even spread."""
    spans = []
    bench.given("machine", machine, "unstated")
    for name, value in (("batch", 16), ("isl", 512), ("ep", ranks), ("dp", ranks)):
        bench.given(name, value, "unstated")
    for model in bench.unstated("model", models, "a mixture of 64 experts and more"):
        for stack in bench.unstated("stack", stacks):
            common: dict[str, Any] = {
                "phase": "prefill",
                "batch": 16,
                "isl": 512,
                "stack": stack,
                "ep": ranks,
                "dp": ranks,
            }
            before = bench.ask(model, machine, **common)
            most = bench.speedup(before, bench.ask(model, machine, [f"{label}:stays=1"], **common)).high  # none leaves
            for stays in bench.unstated("share that stays", walks, "placement by use"):
                gained = bench.speedup(before, bench.ask(model, machine, [f"{label}:stays={stays}"], **common))
                spans.append(at_most(gained, most))
    return spans


@derives(f"{EXFLOW}#4")
def coherent(bench: Bench) -> Finding:
    """Throughput of prompts with one all-to-all a layer, one GPU an expert, across boxes."""
    spans = _placed(
        bench, "context-coherent-experts", ("deepseek-v2-lite",), "dgx-a100-40gbx8", 64, (0.4, 0.7), ("torch-eager",)
    )
    return over(spans, "prompts through 64 experts over 64 GPUs; gathering the context once is left out")


FEW = "fewer tokens leave their GPU; what balance adds is left out"


@derives("moetuner#1")
def one_node(bench: Bench) -> Finding:
    """One box, per cent more."""
    spans = _placed(
        bench, "expert-affinity", ("deepseek-v2-lite", "qwen3-30b-a3b"), "dgx-a100-40gb", 8, (0.3, 0.5), ("vllm", "torch-eager")
    )  # fmt: skip
    return over([s.mapped(lambda x: 100 * (x - 1)) for s in spans], FEW)


@derives("moetuner#2")
def nodes(bench: Bench) -> Finding:
    """Two boxes, per cent more: the same tokens over the network."""
    spans = _placed(
        bench, "expert-affinity", ("deepseek-v2-lite", "qwen3-30b-a3b"), "dgx-a100-40gbx2", 16, (0.3, 0.5), ("vllm", "torch-eager")
    )  # fmt: skip
    return over([s.mapped(lambda x: 100 * (x - 1)) for s in spans], FEW)


def _hidden(bench: Bench, share: float, overlapped: tuple[float, ...], parts: tuple[float, ...]) -> Finding:
    sent = bench.given("communication share of the expert layers", share)
    bench.given("communication overlapped", overlapped)
    spans = []
    for part in bench.unstated(
        "expert layers' part of a step", parts, "expert layers are half of the blocks and the wider ones"
    ):
        for hidden in overlapped:
            gain, most = (100 * (1 / (1 - part * bench.size(sent) * h) - 1) for h in (hidden, 1.0))
            spans.append(Span(gain, gain, gain, most))
    return over(spans, "1 / (1 − part · share · overlapped): messages that hide under the rest of the block")


@derives(f"{SCMOE}#2")
def training_pcie(bench: Bench) -> Finding:
    """Training over PCIe: 60 % of expert layers' time is messages, 70 % of which hides."""
    return _hidden(bench, 0.60, (0.70,), (0.45, 0.6, 0.7))


@derives(f"{SCMOE}#3")
def training_nvlink(bench: Bench) -> Finding:
    """Training over NVLink: 15 %, all of which hides."""
    return _hidden(bench, 0.15, (1.0,), (0.45, 0.6, 0.7))


@derives(f"{SCMOE}#4")
def inference_pcie(bench: Bench) -> Finding:
    """Inference over PCIe."""
    return _hidden(bench, 0.60, (0.70,), (0.45, 0.6, 0.7))


@derives(f"{SCMOE}#5")
def inference_nvlink(bench: Bench) -> Finding:
    """Inference over NVLink."""
    return _hidden(bench, 0.15, (1.0,), (0.45, 0.6, 0.7))
