"""Totals of captured modules: against torch's counter, forwards and backwards; exported or watched; folded or flat.

All of them need every module's capture, which takes seconds: tests of one file share a process, and so the captures.
"""

from __future__ import annotations

from typing import Any

import pytest

from speedlight.frontends.torch_export import capture, trace
from speedlight.frontends.torch_export.fold import fold
from speedlight.graph import stats
from speedlight.graph.backward import add_optimizer, differentiate
from speedlight.graph.grammar import check

from .counting import captured, counted, flat, matmul_flops, totals, value
from .modules import MODULES

GROUPED = ("grouped", "convnext")
# Attention whose bias trains: PyTorch leaves the fused kernel and its backward pass keeps the scores (4 products, not 5).
TRAINED_BIAS = ("t5", "swin")
COUNTED = [n for n in MODULES if n != "lstm"]
BACKWARD = [n for n in COUNTED if n not in (*GROUPED, *TRAINED_BIAS)]


def test_there_are_enough_of_them() -> None:
    assert len(COUNTED) >= 24


@pytest.mark.parametrize("name", COUNTED)
def test_forward_flops_equal_the_counters(name: str) -> None:
    assert matmul_flops(captured(name), "forward") == counted(name)[0]


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_are_exact_and_the_grammar_holds(name: str) -> None:
    graph = check(captured(name))
    assert stats.parameters(graph) == counted(name)[2]
    assert graph.attrs["unknown_ops"] == ()


@pytest.mark.parametrize("name", BACKWARD)
def test_backward_flops_equal_the_counters(name: str) -> None:
    """The first layer's input needs no gradient, frozen weights none, unused ones none; attention counts 5 products."""
    graph = differentiate(captured(name))
    assert matmul_flops(graph, "backward") == counted(name)[1]


@pytest.mark.parametrize("name", TRAINED_BIAS)
def test_attention_with_a_trained_bias(name: str) -> None:
    graph = differentiate(captured(name))
    biased = 0.0
    for block, op in graph.ops():
        if (op.fn == "sdpa_backward" and len(op.writes) > 3) or (
            op.fn == "sdpa_backward" and any("mask" in w.tensor or "bias" in w.tensor for w in op.writes)
        ):  # more than dq, dk, dv
            biased += value(graph, op.flops("matmul") * block.count) / 2.5
    assert biased > 0
    assert matmul_flops(graph, "backward") - 0.5 * biased == pytest.approx(counted(name)[1], rel=1e-12)


@pytest.mark.parametrize("name", GROUPED)
def test_backward_of_grouped_convolutions_is_right_where_the_counter_is_wrong(name: str) -> None:
    """Ours is the forward FLOPs once for each gradient. The counter takes a grouped convolution's weight gradient for that
    of an ungrouped one, which is ``groups`` times too much (24 times for this depthwise net's weight gradients, 8 groups)."""
    graph = differentiate(captured(name))
    forward = {(b.name, o.name): o for b, o in graph.ops() if o.phase == "forward"}
    mirrors = graph.attrs["mirrors"]
    theirs = ours = 0.0
    for block, op in graph.ops():
        if op.phase != "backward":
            continue
        flops = value(graph, op.flops("matmul") * block.count)
        wrong = op.attrs.get("groups", 1) if op.fn.endswith("_wgrad") else 1
        theirs += flops * wrong
        ours += flops
        if op.kind == "conv":
            source = forward[mirrors[block.name], op.name.rpartition(".")[0]]
            assert value(graph, op.flops("matmul")) == value(graph, source.flops("matmul"))
    assert theirs == counted(name)[1]
    assert ours < counted(name)[1]


def test_depthwise_flops_by_hand() -> None:
    graph = captured("grouped")
    by_hand = 2 * 2 * 18 * 22 * 16 * (8 / 4) * 9 + 2 * 2 * 16 * 20 * 16 * 1 * 9
    assert matmul_flops(graph, "forward") == by_hand


def test_causal_attention_counts_the_unmasked_half() -> None:
    graph = captured("grouped causal attention")
    (op,) = [o for _, o in graph.ops() if o.kind == "attention"]
    work = op.work[0]
    assert value(graph, work.flops) == 2 * (16 + 16) * 2 * 4 * (10 * 11 / 2)
    assert work.dense is not None
    assert value(graph, work.dense) == 2 * (16 + 16) * 2 * 4 * 10 * 10
    assert op.attrs["causal"]
    assert {k: value(graph, v) for k, v in op.dims.items()} == {
        "heads": 4, "kv_heads": 2, "qk_dim": 16, "v_dim": 16, "seqs": 2, "rows": 20, "keys": 20,
    }  # fmt: skip


def test_lstm_flops_by_hand() -> None:
    """Two layers, both directions: 2 · rows · 4H · (inputs + H) each; backward twice that, but for the first inputs."""
    graph = captured("lstm")
    rows, hidden = 2 * 12, 32
    inputs = 2 * 2 * rows * 4 * hidden * (16 + 2 * hidden)
    recurrent = 2 * 2 * 2 * rows * 4 * hidden * hidden
    assert matmul_flops(graph, "forward") == inputs + recurrent
    scans = [o for _, o in graph.ops() if o.kind == "scan"]
    assert [value(graph, o.span) for o in scans] == [12] * 4
    backward = differentiate(graph)
    first = 2 * 2 * rows * 4 * hidden * 16
    assert matmul_flops(backward, "backward") == 2 * (inputs + recurrent) - first


def test_experts_by_hand() -> None:
    from .modules import SMALL, hugging

    factory = hugging(
        "MixtralForCausalLM",
        "MixtralConfig",
        **{**SMALL, "num_hidden_layers": 2},
        num_key_value_heads=2,
        num_local_experts=4,
    )
    graph = capture(factory, ["2x16:int64"])
    flops = sum(value(graph, o.flops("matmul") * b.count) for b, o in graph.ops() if o.kind == "moe")
    assert flops == 2 * 2 * (2 * 16) * 2 * (3 * 64 * 128)  # layers · 2 · tokens · experts each · three products
    assert matmul_flops(differentiate(graph), "backward") > 2 * flops


@pytest.mark.parametrize("name", ["branches", "resnet18", "gpt2", "decoder"])
def test_every_trained_parameter_gets_a_gradient_and_a_state(name: str) -> None:
    graph = add_optimizer(differentiate(captured(name)))
    count = stats.parameters(graph)
    assert value(graph, stats.kept(graph, "gradient", of_bytes=False)) == count
    assert value(graph, stats.kept(graph, "optimizer", of_bytes=False)) == 2 * count  # fp32: no master copy


# ways of tracing, and folding


def refuses(*_: Any, **__: Any) -> None:
    raise RuntimeError("no export today")


@pytest.mark.parametrize("name", ["conv", "decoder", "attention with weights", "gpt2", "lstm", "branches"])
def test_the_dispatcher_sees_what_export_sees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = captured(name)
    monkeypatch.setattr(trace, "exported", refuses)
    watched = capture(*MODULES[name])
    assert watched.attrs["capture"] == "dispatch"
    assert watched.attrs["static"] == ("batch",)
    assert totals(watched) == pytest.approx(totals(exported), rel=1e-12)
    assert sorted(o.fn for _, o in watched.ops()) == sorted(o.fn for _, o in exported.ops())


@pytest.mark.parametrize(
    "name", ["resnet50", "vit", "gpt2", "t5", "clip", "whisper", "encoder", "decoder", "convnext", "unet"]
)
def test_folding_changes_no_total(name: str) -> None:
    assert len(flat(name).blocks) == 1
    assert totals(captured(name)) == pytest.approx(totals(flat(name)), rel=1e-12)
    assert totals(captured(name), 5) == pytest.approx(totals(flat(name), 5), rel=1e-12)
    assert fold(captured(name)) is captured(name) or len(captured(name).blocks) == 1


def test_capture_folds() -> None:
    graph = capture(*MODULES["encoder"])
    assert [b.name for b in graph.blocks] == [b.name for b in captured("encoder").blocks] == ["layers.0", "layers.1-3"]


def test_layers_fold_with_their_indices() -> None:
    blocks = {b.name: (b.count.constant, b.layers) for b in captured("vit").blocks}
    assert blocks["blocks.0-11"] == (12, tuple(range(12)))
    resnet = [(b.name, b.count.constant) for b in captured("resnet50").blocks if b.count.constant != 1]
    assert resnet == [("layer1.1-2", 2), ("layer2.1-3", 3), ("layer3.1-5", 5), ("layer4.1-2", 2)]


def test_invariant_tensors_pass_through_folded_layers() -> None:
    """Decoder layers all read the encoder's result; folded blocks take it and hand it on."""
    graph = captured("t5")
    decoder = next(b for b in graph.blocks if b.name.startswith("decoder.block"))
    assert decoder.count.constant == 2
    assert len(decoder.inputs) == len(decoder.outputs) >= 2
    assert any(i == o for i, o in zip(decoder.inputs, decoder.outputs, strict=True))
