"""Hermes: layers loaded from storage by several agents at once, just ahead of use, and dropped after.

A pipeline of one loader hides computing behind loading: its time is the loading of all layers by one thread, and it keeps what it has
loaded. Several agents load at the storage's own rate until computing or the storage binds; layers leave memory once used.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

BERT, VIT, GPT = ("bert-large", 24.0, 512.0), ("vit-l-16", 24.0, 197.0), ("gpt2-xl", 48.0, 128.0)
CARD = "jetson-agx-xavier-32gb"


def _speed(bench: Bench, models: tuple[tuple[str, float, float], ...]) -> Finding:
    spans = []
    for thread in bench.unstated("bytes/s one loader reads and builds tensors at", (0.4e9, 0.8e9)):
        for disk in bench.unstated(
            "bytes/s of the storage", (1.5e9, 2.5e9), "eMMC and NVMe of edge boards read in parallel"
        ):
            for name, _, tokens in models:
                size = float(bench.facts(name)["weight_bytes"])
                answer = bench.ask(name, CARD, phase="forward", batch=1, isl=tokens, stack="torch-eager")
                before = max(size / (thread * bench.perturbed.bandwidth), float(answer.time))
                after = max(size / (disk * bench.perturbed.bandwidth), float(answer.time))
                spans.append(Span(before / after, before / after, before / after, disk / thread))
    return over(spans, "loading by one thread against loading by several at the storage's rate, computing beside both")


@derives("hermes#1")
def speed(bench: Bench) -> Finding:
    return _speed(bench, (BERT, VIT))


@derives("hermes#3")
def speed_generating(bench: Bench) -> Finding:
    return _speed(bench, (GPT,))


def _memory(bench: Bench, models: tuple[tuple[str, float, float], ...]) -> Finding:
    spans = []
    for agents in bench.unstated("loading agents", (2, 4, 6)):
        for _, layers, _ in models:
            spans.append(exactly(100 * (1 - bench.size(agents + 1) / layers)))
    return over(spans, "the layer in use and one for each agent, against all layers kept once loaded")


@derives("hermes#2")
def memory(bench: Bench) -> Finding:
    return _memory(bench, (BERT, VIT))


@derives("hermes#4")
def memory_generating(bench: Bench) -> Finding:
    return _memory(bench, (GPT,))
