"""Laws that hold for the graph of every bundled model."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.expr import evaluate
from speedlight.frontends.zoo import zoo_ids
from speedlight.graph import stats
from speedlight.graph.grammar import check
from speedlight.graph.ir import Graph

from .helpers import at, bundled, flops, kept_bytes

ALL = zoo_ids()
# An encoder-decoder's source and a prompt's pictures are work beside a token's own.
DECODERS = [i for i in ALL if bundled(i).attrs["causal"] and not {"prompt", "beside"} & set(bundled(i).attrs)]
DIVISIBLE = {"heads", "kv_heads", "ffn", "vocab", "experts", "expert_ffn", "state_heads"}
# One of each sort of mixer.
KINDS = ("llama-3.1-8b", "gpt2", "falcon-7b", "gemma-3-27b", "gpt-oss-20b", "deepseek-v3.2", "deepseek-v4-flash", "mamba-2.8b",
         "mamba-codestral-7b", "qwen3.5-27b", "kimi-k3", "jamba-v0.1", "llama-4-scout", "minimax-m3", "step-3.7-flash")  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_grammar_dims_and_folding(name: str) -> None:
    graph = check(bundled(name))
    most = 10 if graph.attrs["family"] == "nemotron_nas" else 8  # searched architectures have eight sorts of layer
    beside = [b for b in graph.blocks if b.name.startswith(("encoder.", "vision."))]
    assert len(graph.blocks) - len(beside) <= most
    assert len(beside) <= most
    assert graph.dims or {op.fn for _, op in graph.ops()} >= {
        "conv2d",
        "group_norm",
    }  # nothing divides a convolution yet
    assert {d.role for d in graph.dims.values()} <= DIVISIBLE
    layers = [i for b in graph.blocks if b not in beside for i in b.layers]
    if graph.attrs["n_layers"] and graph.attrs["family"] != "vision":
        assert sorted(layers) == list(range(graph.attrs["n_layers"]))


@pytest.mark.parametrize("name", DECODERS)
def test_two_flops_for_each_active_parameter(name: str) -> None:
    """One token at context 0: each weight that is used is multiplied and added once; attention to itself is nothing."""
    graph = bundled(name)
    assert flops(graph) == pytest.approx(2 * stats.active_parameters(graph), rel=0.015)


@pytest.mark.parametrize("name", KINDS)
def test_two_groups_are_the_sum_of_each(name: str) -> None:
    """A step of two sequence groups does what the two steps do (selection of experts apart: it is not linear)."""
    graph = bundled(name)
    total = stats.forward_flops(graph)
    parts = [(3, 5, 700), (2, 64, 0)]
    groups = [{"count": c, "new": n, "cached": k} for c, n, k in parts]
    whole = {
        **stats.unsharded(graph), "tokens": 3 * 5 + 2 * 64, "seqs": 5, "logits": 5, "groups": 2, "caching": 1, "training": 0
    }  # fmt: skip
    together = evaluate(total, whole, groups)
    assert together == pytest.approx(sum(at(graph, total, c, n, k) for c, n, k in parts), rel=1e-9)


@pytest.mark.parametrize("name", KINDS)
@given(new=st.integers(1, 300), cached=st.integers(0, 20_000))
def test_work_is_finite_and_grows_with_the_context(name: str, new: int, cached: int) -> None:
    """8,192 tokens further: Llama 4's chunks of that length begin anew, so that shorter steps may do less."""
    graph = bundled(name)
    here, further = flops(graph, new=new, cached=cached), flops(graph, new=new, cached=cached + 8192)
    assert math.isfinite(here)
    assert 0 < here <= further * (1 + 1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_a_prompt_in_two_pieces_is_the_prompt(name: str) -> None:
    """Chunked prefill: attention sees the same pairs. Recurrences and latent attention choose the cheaper of two forms by
    piece, and compression counts entries, so those may differ a little."""
    graph = bundled(name)
    whole = flops(graph, new=1024, cached=0)
    pieces = flops(graph, new=512, cached=0) + flops(graph, new=512, cached=512)
    pieces -= flops(graph, new=1, cached=0) - flops_without_logits(graph)
    exact = name in (
        "llama-3.1-8b",
        "gpt2",
        "falcon-7b",
        "gemma-3-27b",
        "gpt-oss-20b",
        "llama-4-scout",
        "step-3.7-flash",
    )
    assert pieces == pytest.approx(whole, rel=1e-9 if exact else 0.12)


def flops_without_logits(graph: Graph) -> float:
    env = {**stats.unsharded(graph), **stats.step_symbols(1, 1, 0), "caching": 1, "training": 0, "logits": 0}
    return float(evaluate(stats.forward_flops(graph), env, [{"count": 1, "new": 1, "cached": 0}]))


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gpt2-xl", "mistral-7b", "gemma-2-9b", "llama-4-scout"])
def test_causal_pairs_by_counting(name: str) -> None:
    """Attention FLOPs equal those of listing every query's keys."""
    graph = bundled(name)
    for new, cached in ((1, 0), (7, 0), (1, 9000), (600, 4000), (5000, 8100)):
        expected = 0.0
        for block in graph.blocks:
            for op in block.ops:
                if op.fn != "sdpa":
                    continue
                window, chunk = op.attrs["window"], op.attrs["chunk"]
                pairs = sum(
                    p % chunk + 1 if chunk else min(p + 1, window) if window else p + 1
                    for p in range(cached, cached + new)
                )
                d = {
                    k: at(graph, e, new=new, cached=cached)
                    for k, e in op.dims.items()
                    if k in ("heads", "qk_dim", "v_dim")
                }
                expected += 2 * d["heads"] * (d["qk_dim"] + d["v_dim"]) * pairs * at(graph, block.count)
        found = sum(
            at(graph, op.flops("matmul") * block.count, new=new, cached=cached)
            for block, op in graph.ops() if op.fn == "sdpa"
        )  # fmt: skip
        assert found == pytest.approx(expected, rel=1e-12)


def test_decode_reads_what_it_keeps() -> None:
    """One decode step reads the whole cache once: its operands add up to what is kept before the new token."""
    for name in ("llama-3.1-8b", "gpt2", "mixtral-8x7b"):
        graph = bundled(name)
        read = 0.0
        for block, op in graph.ops():
            for operand in op.reads:
                tensor = graph.tensor(block, operand.tensor)
                if tensor.cls == "kv" and operand.elements is not None:
                    read += at(graph, operand.elements * block.count, count=4, cached=999) * tensor_width(tensor.dtype)
        assert read == pytest.approx(kept_bytes(graph, "kv", count=4, context=999))


def test_decode_reads_no_more_than_its_window() -> None:
    """Windows, chunks and chosen tokens bound what a step reads, however long the context."""
    bounds = {"mistral-7b": 4095, "llama-4-scout": 8191, "deepseek-v3.2": 2048, "minimax-m3": 17 * 128}
    for name, tokens in bounds.items():
        graph = bundled(name)
        far = []
        for block, op in graph.ops():
            for operand in op.reads:
                tensor = graph.tensor(block, operand.tensor)
                if tensor.cls == "kv" and operand.elements is not None and "index" not in op.name:
                    kept = at(graph, tensor.persistent.kept, cached=10**6 - 1)  # type: ignore[union-attr]
                    width = kept / min(10**6, {"mistral-7b": 4096, "llama-4-scout": 8192}.get(name, 10**6))
                    far.append(at(graph, operand.elements, cached=10**6 - 1) / width)
        assert min(f for f in far if f) <= tokens


def tensor_width(dtype: str) -> float:
    from speedlight._foundation.formats import bytes_per_element

    return bytes_per_element(dtype)


@pytest.mark.parametrize(
    ("name", "chunk"), [("mamba-2.8b", 2048), ("mamba-codestral-7b", 256), ("qwen3.5-27b", 64), ("kimi-k3", 64)]
)
def test_scans_take_a_step_for_each_chunk(name: str, chunk: int) -> None:
    graph = bundled(name)
    scans = [op for _, op in graph.ops() if op.kind == "scan"]
    assert scans
    for op in scans:
        assert at(graph, op.span, new=1, cached=500) == 1
        assert at(graph, op.span, new=4096) == math.ceil(4096 / chunk)


def test_mamba_2_block_decomposition_by_hand() -> None:
    """Chunks of 256: (q + 1)·(N·G + P·H) + 4·N·P·H a token, masked halves left out (arXiv 2405.21060 §6)."""
    graph = bundled("mamba-codestral-7b")
    scan = next(op for _, op in graph.ops() if op.kind == "scan")
    n, g, inner = 128, 8, 128 * 64
    assert at(graph, scan.flops("matmul"), new=1024) == 1024 * (257 * (n * g + inner) + 4 * n * inner)
    assert at(graph, scan.flops("matmul"), new=1, cached=50) == 0
    assert at(graph, scan.flops("vector"), new=1, cached=50) == 5 * n * inner + 6 * inner


def test_an_image_is_a_sequence_of_patches() -> None:
    """ViT-B/16 on 224 pixels: 196 patches and a class token; 17.6 GMACs (patches, 12 layers, head), as papers say."""
    graph = bundled("vit-b-16")
    assert graph.attrs["tokens_per_sequence"] == 197
    layer = 197 * 12 * 768 * 768 + 2 * 197 * 197 * 768
    by_hand = 196 * 768 * (3 * 16 * 16) + 12 * layer + 768 * 1000
    assert flops(graph, new=197, caching=0) == 2 * by_hand
    assert by_hand / 1e9 == pytest.approx(17.6, abs=0.05)


def test_clip_sees_a_text_for_each_image() -> None:
    """Twice the images: twice both towers; the similarity of all pairs is four times as much."""
    graph = bundled("clip-vit-b-32")
    one, two = flops(graph, new=50, caching=0), flops(graph, count=2, new=50, caching=0)
    assert two == pytest.approx(2 * one, rel=1e-4)
    assert two > 2 * one


def test_diffusion_attends_to_text_and_image_together() -> None:
    """FLUX: doubling the pixels more than doubles the work, since attention is over all tokens."""
    graph = bundled("flux.1-dev")
    assert flops(graph, new=8192, caching=0) > 2 * flops(graph, new=4096, caching=0) * 0.95
    joint = next(op for block, op in graph.ops() if op.name == "attn" and block.name == "transformer_blocks")
    assert at(graph, joint.flops("matmul"), new=4096, caching=0) == 4 * 24 * 128 * (4096 + 512) ** 2


def test_unread_towers_weigh_but_do_not_work() -> None:
    graph = bundled("qwen3-vl-8b-instruct")
    assert "visual" in graph.shared
    assert flops(graph) == pytest.approx(2 * stats.active_parameters(graph), rel=0.01)
