"""Flash-LLM: weights kept sparse, multiplied dense.

A linear layer of a decode step reads its weights; with a share s of zeros left out it reads (1 − s) of the values and an index of 16
bits each, and does all products on the matrix unit all the same. Kernels that skip zero products run on the vector unit and fetch a row
of activations for each weight. Fewer bytes also mean fewer GPUs for the same model: throughput is counted for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...bench import Bench
from ...finding import Finding, Span, over
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


@derives("flash-llm#1")
def over_sputnik(bench: Bench) -> Finding:
    """Against a kernel that skips zero products on the vector unit."""
    spans = []
    for machine, sparsity, tokens, own in _products(bench):
        entries = (1 - sparsity) * 4 * SIZE * bench.size(SIZE)
        source = ops(("spmm", {"m": 4 * SIZE, "k": SIZE, "n": tokens, "nnz": int(entries), "index": "int16"}))
        other = kernel(bench, "one linear layer", source, machine, stack="ideal")
        ratio = float(other.time) / own
        spans.append(Span(ratio, ratio, ratio, float(other.time) / own))
    return _mean(
        spans,
        "the same sparse bytes; every weight fetches its row of activations through the cache, and multiplies on the vector unit",
    )


@derives("flash-llm#2")
def over_sparta(bench: Bench) -> Finding:
    """Against two kernels: a 2:4 pattern on sparse matrix units, and what does not fit the pattern."""
    spans = []
    for machine, sparsity, tokens, own in _products(bench):
        weights = 4 * SIZE * bench.size(SIZE)
        density = 1 - sparsity
        # Of four weights so many are kept beyond two, at random places: E[max(0, kept − 2)] of a binomial of four.
        beyond = (4 * density**3 * (1 - density) + 2 * density**4) / 4
        pattern = ops(("gemm", {"m": tokens, "n": 4 * SIZE, "k": int(bench.size(SIZE)), "weights": "fp16~9"}))
        rest = ops(
            ("spmm", {"m": 4 * SIZE, "k": SIZE, "n": tokens, "nnz": int(max(1, beyond * weights)), "index": "int16"})
        )
        other = sum(float(kernel(bench, "one linear layer", s, machine, stack="ideal").time) for s in (pattern, rest))
        spans.append(Span(other / own, other / own, other / own, other / own))
    return _mean(
        spans,
        "half of the dense values and their places for the pattern, plus a sparse product for what lies outside it",
    )


def _mean(spans: list[Span], why: str) -> Finding:
    """Claims of a mean: the means over tokens at each sparsity."""
    groups = [spans[i : i + 4] for i in range(0, len(spans), 4)]
    means = [2.0 ** (sum(_log2(s.value) for s in g) / len(g)) for g in groups]
    return over([Span(m, m, m) for m in means], why + "; geometric means over the tokens, a sparsity each")


def _log2(value: float) -> float:
    import math

    return math.log2(value)


def _served(bench: Bench, stack: str) -> Finding:
    bench.given("phase", "decode")
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb",), "a GPU that holds pruned models of this size"):
        for model, dense, sparse in bench.unstated(
            "model and GPUs", (("opt-30b", 1, 1), ("opt-66b", 2, 1), ("opt-175b", 8, 4)), "as few as hold the model"
        ):
            for batch in bench.unstated("batch", (8, 32)):
                common = {"phase": "decode", "batch": batch, "context": 512, "dtype": "fp16", "stack": stack}
                before = bench.ask(model, machine, tp=dense, **common)
                after = bench.ask(
                    model, machine, ["unstructured-sparsity:sparsity=0.8,places=index16"], tp=sparse, **common
                )
                spans.append(bench.speedup(before, after, "throughput"))
    return over(
        spans,
        "decode steps of dense weights on the GPUs they need against sparse ones on fewer, tokens a second and GPU",
    )


@derives("flash-llm#3")
def over_deepspeed(bench: Bench) -> Finding:
    """Tokens a GPU-second over DeepSpeed's dense kernels."""
    return _served(bench, "torch-eager")


@derives("flash-llm#4")
def over_fastertransformer(bench: Bench) -> Finding:
    """Tokens a GPU-second over FasterTransformer's."""
    return _served(bench, "vllm")
