"""How many FLOPs a step is said to take, by the conventions of :mod:`.sources`; every other figure follows from the seconds.

A backward pass counts twice the forward one everywhere. What fused attention computes again inside itself counts nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..._foundation.expr import evaluate, total
from ...frontends.source import load_graph
from ...graph.ir import Graph
from ...graph.statistics import complete
from ...graph.stats import unsharded
from .sources import Source

PACKED = (
    128.0  # tokens of a packed example: NeMo 24.07's finetuning rows take 6 · (parameters) and 0.2 GFLOP a token more
)


@dataclass(frozen=True, slots=True)
class Forward:
    """FLOPs of matrix units in one sequence's forward pass.

    Attributes:
        layers: of all layers but attention's products.
        attention: query–key and attention–value products, the unmasked part alone; ``dense`` as if nothing were masked.
        ends: of what stands before and behind the layers (the head).
        embedding: what a look-up would take as a product.
    """

    layers: float
    attention: float
    dense: float
    ends: float
    embedding: float


@lru_cache(maxsize=512)
def forward_of(model: str, seq_len: float) -> Forward:
    """A sequence's forward pass (an image's for a model without tokens)."""
    images = not model.startswith("{") and model == "resnet50"
    graph = load_graph(model, (), None if images else "bf16")
    env = {
        **complete(graph, {**{k: v for k, v in graph.symbols.items() if v is not None}, "batch": 1}),
        **unsharded(graph),
    }
    env |= {"tokens": seq_len, "seqs": 1, "logits": seq_len, "groups": 1, "caching": 0, "training": 1, "tp": 1, "ep": 1}
    return _forward(graph, env, seq_len)


def _forward(graph: Graph, env: dict[str, object], seq_len: float) -> Forward:
    groups = [{"count": 1, "new": seq_len, "cached": 0}]
    sums: dict[str, list[object]] = {"layers": [], "ends": [], "attention": [], "dense": []}
    table = 0.0
    for block, op in graph.ops():
        if block.phase != "forward":
            continue
        for work in op.work:
            if work.unit != "matmul":
                continue
            often = op.count * block.count
            if op.kind == "attention":
                sums["attention"].append(work.flops * often)
                sums["dense"].append((work.flops if work.dense is None else work.dense) * often)
            else:
                sums["layers" if block.count.constant != 1 else "ends"].append(work.flops * often)
        if op.kind == "embedding" and op.reads:
            for read in op.reads:
                tensor = graph.tensor(block, read.tensor)
                if tensor.cls == "weight" and "embed" in tensor.name:
                    table += float(evaluate(tensor.elements, env, groups))
    found = {name: float(evaluate(total(terms), env, groups)) if terms else 0.0 for name, terms in sums.items()}  # type: ignore[arg-type]
    return Forward(**found, embedding=2 * table * seq_len)


def step_flops(
    source: Source,
    model: str,
    seq_len: float,
    batch: float,
    *,
    again: str = "none",
    hardware: bool = False,
    task: str = "",
) -> float:
    """FLOPs a source says one step of ``batch`` sequences takes.

    Args:
        again: what the row says is computed again (``none``, ``selective``, ``full``).
        hardware: as HFU counts: with what is computed again.
        task: low-rank finetuning (``lora``) counts no gradients of the frozen weights and no attention; NeMo's ``finetuning``
            packs examples of :data:`PACKED` tokens.
    """
    f = forward_of(model, float(seq_len))
    attention = f.dense if source.attention == "dense" else f.attention
    if task.startswith("finetuning"):
        attention *= PACKED / seq_len
    low_rank = "lora" in task.lower()
    if low_rank:
        return 2 * (f.layers + f.ends) * batch
    work = 3 * (f.layers + attention + f.ends)
    if source.embedding:
        work += 3 * f.embedding
    if source.recompute or (hardware and again == "full"):
        work += f.layers + attention
    elif hardware and again == "selective":
        work += source.selective * attention
    return work * batch
