"""Code written out call by call: work and weights stay, calls and traffic are the code's."""

from __future__ import annotations

import pytest

from speedlight._foundation.errors import BadFile
from speedlight._foundation.expr import evaluate, total
from speedlight.frontends.source import load_graph
from speedlight.graph import stats
from speedlight.graph.ir import Graph
from speedlight.lowering.unfold import unfold
from speedlight.stacks.stack import load_stack, parse_stack

EAGER = load_stack("transformers@4.35")
SIZES = {"tokens": 1024.0, "seqs": 2.0, "logits": 1024.0, "caching": 0.0, "training": 0.0, "groups": 1.0}
GROUPS = [{"count": 2.0, "new": 512.0, "cached": 0.0}]


def products(graph: Graph, dense: bool = False) -> float:
    env = {**SIZES, **{name: float(dim.size) for name, dim in graph.dims.items()}}
    terms = [
        (w.dense if dense and w.dense is not None else w.flops) * block.count * op.count
        for block, op in graph.ops() for w in op.work if w.unit == "matmul"
    ]  # fmt: skip
    return float(evaluate(total(terms), env, GROUPS))


@pytest.mark.parametrize("model", ["bert-large", "gpt2-large", "opt-1.3b"])
@pytest.mark.parametrize("training", [False, True])
def test_products_and_weights_stay(model: str, training: bool) -> None:
    graph = load_graph(model, (), "fp32")
    written = unfold(graph, EAGER, training)
    assert products(written) == pytest.approx(products(graph, dense=True))  # the whole square, masked or not
    assert stats.parameters(written) == stats.parameters(graph)
    assert not [op for _, op in written.ops() if op.kind == "attention"]


def test_a_stack_without_rules_changes_nothing() -> None:
    graph = load_graph("bert-large", (), "fp32")
    assert unfold(graph, load_stack("torch-eager@2.6"), True) is graph


def test_dropout_is_called_in_training_only() -> None:
    graph = load_graph("gpt2-large", (), "fp32")
    counts = [sum(op.fn == "dropout" for _, op in unfold(graph, EAGER, t).ops()) for t in (False, True)]
    assert counts == [0, 3]  # of the weights, after the attention, after the feed-forward


def test_new_gelu_is_eight_calls_and_attention_one_projection() -> None:
    written = unfold(load_graph("gpt2-large", (), "fp32"), EAGER, False)
    (layers,) = [b for b in written.blocks if b.name == "layers"]
    assert sum(op.name.startswith("mlp.act_fn") for op in layers.ops) == 8
    assert [op.name for op in layers.ops if op.fn == "linear"] == [
        "self_attn.qkv_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj",
    ]  # fmt: skip


def test_attention_that_shares_keys_stays_one_op() -> None:
    graph = load_graph("llama-3.1-8b", (), "fp32")
    assert any(op.kind == "attention" for _, op in unfold(graph, EAGER, False).ops())


@pytest.mark.parametrize(
    "steps",
    [
        [{"fn": "mul", "out": "a", "of": ["b"]}],
        [{"fn": "mul", "out": "x", "of": ["x"]}],
        [],
    ],
)
def test_rules_read_what_exists(steps: list[dict[str, object]]) -> None:
    data = {
        "schema": 1,
        "name": "s",
        "version": "1",
        "date": "2026-01-01",
        "unfold": [{"fn": "gelu", "steps": steps}],
    }
    with pytest.raises(BadFile, match="unfold of gelu"):
        parse_stack(data, "s.yaml")


def test_written_out_attention_reads_what_is_cached() -> None:
    """Its products read earlier tokens' keys and values from the cache, as the one op they stand for did."""
    from speedlight.api import explain

    short, long = (
        explain("opt-13b", "a100-sxm-80gb", phase="decode", batch=32, context=c, stack="transformers@4.35")
        for c in (1024, 8192)
    )
    cached = 32 * (8192 - 1024) * long.model["kv_bytes_per_token"]
    assert long.bytes - short.bytes >= cached
    assert long.time - short.time >= cached / 2.1e12
