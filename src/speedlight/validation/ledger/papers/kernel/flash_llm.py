"""Flash-LLM: weights kept sparse, multiplied dense.

A linear layer of a decode step reads its weights; with a share s of zeros left out it reads (1 − s) of the values and an index of 16
bits each, and does all products on the matrix unit all the same. Kernels that skip zero products run on the vector unit and fetch a row
of activations for each weight. Fewer bytes also mean fewer GPUs for the same model: throughput is counted for each of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from ....._foundation.errors import Unsupported
from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...kernels import kernel, ops
from ...registry import derives

SIZE = 9216  # of OPT-66B


def _products(bench: Bench) -> Iterator[tuple[str, float, int, float]]:
    """(machine, sparsity, tokens, seconds of the dense product on sparse weights)."""
    for machine in bench.unstated("machine", ("a100-sxm-40gb",), "a GPU of the source's time with sparse matrix units"):
        for sparsity in bench.unstated("sparsity", (0.7, 0.8, 0.9), "what pruning keeps quality at"):
            for tokens in bench.unstated("tokens", (8, 16, 32, 64), "batches of a decode step"):
                bits = 16 + 16
                source = ops(
                    (
                        "gemm",
                        {
                            "m": tokens,
                            "n": 4 * SIZE,
                            "k": int(bench.size(SIZE)),
                            "weights": f"fp16~{(1 - sparsity) * bits:.6g}",
                        },
                    )
                )
                own = kernel(bench, "one linear layer", source, machine, stack="ideal")
                yield machine, sparsity, tokens, float(own.time)


def _sparse(tokens: int, entries: float) -> str:
    """A kernel that skips zero products: vector units multiply, activations come in 16 bits from the units' own caches.

    Each weight and token takes a conversion and a multiply-add, so many slots of the vector unit.
    """
    entries = max(1.0, entries)
    op = {
        "name": "spmm", "kind": "other", "work": [{"unit": "vector", "flops": 4 * entries * tokens, "format": "fp32"}],
        "reads": ["weights", "places", "x"], "writes": ["y"],
    }  # fmt: skip
    tensors = {
        "weights": {"elements": entries, "class": "weight"}, "places": {"elements": entries, "dtype": "int16", "class": "weight"},
        "x": {"elements": SIZE * tokens, "class": "input"}, "y": {"elements": 4 * SIZE * tokens},
    }  # fmt: skip
    return json.dumps({"schema": 1, "name": "spmm", "dtype": "fp16", "ops": [op], "tensors": tensors})


@derives("flash-llm#1")
def over_sputnik(bench: Bench) -> Finding:
    """Against a kernel that skips zero products on the vector unit."""
    spans = []
    for machine, sparsity, tokens, own in _products(bench):
        source = _sparse(tokens, (1 - sparsity) * 4 * SIZE * bench.size(SIZE))
        spans.append(exactly(float(kernel(bench, "one linear layer", source, machine, stack="ideal").time) / own))
    return _mean(
        spans, "the same sparse bytes; every weight and token takes a conversion and a multiply-add of the vector unit"
    )


@derives("flash-llm#2")
def over_sparta(bench: Bench) -> Finding:
    """Against two kernels: a 2:4 pattern on sparse matrix units, and what does not fit the pattern."""
    spans = []
    for machine, sparsity, tokens, own in _products(bench):
        weights, density = 4 * SIZE * bench.size(SIZE), 1 - sparsity
        # Of four weights so many are kept beyond two, at random places: E[max(0, kept − 2)] of a binomial of four.
        beyond = (4 * density**3 * (1 - density) + 2 * density**4) / 4
        pattern = ops(("gemm", {"m": tokens, "n": 4 * SIZE, "k": int(bench.size(SIZE)), "weights": "fp16~9"}))
        parts = (pattern, _sparse(tokens, beyond * weights))
        other = sum(float(kernel(bench, "one linear layer", s, machine, stack="ideal").time) for s in parts)
        spans.append(exactly(other / own))
    return _mean(
        spans,
        "half of the dense values and their places for the pattern, plus a sparse product for what lies outside it",
    )


def _mean(spans: list[Span], why: str) -> Finding:
    """Claims of a mean: the means over tokens at each sparsity."""
    groups = [spans[i : i + 4] for i in range(0, len(spans), 4)]
    means = [math.prod(s.value for s in g) ** (1 / len(g)) for g in groups]
    return over([exactly(m) for m in means], why + "; geometric means over the tokens, a sparsity each")


BATCHES = (8, 16, 32, 64)
MODELS = (("opt-30b", 1, 1), ("opt-66b", 2, 1), ("opt-175b", 8, 4))  # GPUs that hold the dense and the sparse weights


def _served(bench: Bench, stack: str) -> Finding:
    """Tokens a second and GPU, each side at the batches its memory has room for."""
    bench.given("phase", "decode")
    spans = []
    label = "unstructured-sparsity:sparsity=0.8,places=index16"
    bench.given("batch", BATCHES, "unstated", "up to 64, as far as each side's memory goes")
    for machine in bench.unstated("machine", ("a100-sxm-80gb",), "a GPU that holds pruned models of this size"):
        room = float(bench.machine(machine).main.capacity_bytes)
        for model, dense, sparse in bench.unstated("model and GPUs", MODELS, "as few as hold the model"):
            for context in bench.unstated("context", (512, 1024)):
                common: dict[str, Any] = {"phase": "decode", "context": context, "dtype": "fp16", "stack": stack}
                before = [bench.ask(model, machine, batch=b, tp=dense, **common) for b in BATCHES]
                after = [bench.ask(model, machine, [label], batch=b, tp=sparse, **common) for b in BATCHES]
                best = [
                    max((p for p in side if _holds(p, room)), key=_throughput, default=None) for side in (before, after)
                ]
                if best[0] is not None and best[1] is not None:
                    spans.append(bench.speedup(best[0], best[1], "throughput"))
    if not spans:
        raise Unsupported("no GPU holds a model of this size", expected="more memory, or a smaller model")
    # "Up to" is the most over the settings: that one's interval.
    most = sorted(spans, key=lambda span: span.value)[-1:]
    return over(
        most,
        "decode steps of dense weights on the GPUs they need against sparse ones on as many or fewer, each at the best batch its memory "
        "has room for; the model whose dense weights leave least room gains most",
    )


def _holds(answer: Prediction, capacity: float) -> bool:
    """All of the memory may be used: engines of that time kept none of it back."""
    classes = answer.memory.by_class
    return bool(sum(classes[c] for c in ("weights", "kv", "activations", "workspace")) <= capacity)


def _throughput(answer: Prediction) -> float:
    return float(answer.throughput["per_device"])


@derives("flash-llm#3")
def over_deepspeed(bench: Bench) -> Finding:
    """Tokens a GPU-second over DeepSpeed's dense kernels."""
    return _served(bench, "torch-eager")


@derives("flash-llm#4")
def over_fastertransformer(bench: Bench) -> Finding:
    """Tokens a GPU-second over FasterTransformer's."""
    return _served(bench, "vllm")
