"""Law: the graph's weight bytes are the tensor table's, to the byte, in every type GGUF has."""

from __future__ import annotations

from pathlib import Path

import pytest

from speedlight._foundation.expr import evaluate
from speedlight._foundation.formats import BLOCKS, FORMATS, bytes_per_element
from speedlight.frontends.gguf_file import load_gguf
from speedlight.frontends.gguf_file.types import TYPES, block_of
from speedlight.graph.stats import kept, parameters, unsharded

from .writing import Q4_K, Q6_K, Type, gguf, llama, stored_bytes, write


def weight_bytes(graph) -> float:
    return float(evaluate(kept(graph, "weight"), unsharded(graph)))


def test_block_layouts_are_those_of_the_gguf_library() -> None:
    ours = {number: block_of(name) for number, name in TYPES.items()}
    assert ours == {int(t): sizes for t, sizes in gguf.GGML_QUANT_SIZES.items()}
    for name, (values, size, _) in BLOCKS.items():
        assert bytes_per_element(name) * values == size  # exact: blocks are powers of two
        assert FORMATS[name].bits == 8 * size / values


@pytest.mark.parametrize("kind", list(Type), ids=lambda t: t.name)
def test_every_type_to_the_byte(kind: Type, tmp_path: Path) -> None:
    arch, meta, tensors = llama(kind, count=2)
    graph = load_gguf(str(write(tmp_path / "x.gguf", arch, meta, tensors)))
    assert weight_bytes(graph) == stored_bytes(tensors) == graph.attrs["file"]["weight_bytes"]
    assert parameters(graph) == graph.attrs["file"]["params"]


def test_layers_fold_where_their_types_are_equal_and_only_there(tmp_path: Path) -> None:
    plain = load_gguf(str(write(tmp_path / "a.gguf", *llama(Q4_K))))
    mixed_tensors = llama(Q4_K, more=Q6_K)
    mixed = load_gguf(str(write(tmp_path / "b.gguf", *mixed_tensors)))
    assert [b.layers for b in plain.blocks if b.layers] == [(0, 1, 2, 3)]
    assert [b.layers for b in mixed.blocks if b.layers] == [(0, 2), (1, 3)]
    assert weight_bytes(mixed) == stored_bytes(mixed_tensors[2])
    for block in mixed.blocks:
        if block.layers:
            expected = "q6_k" if block.layers[0] == 0 else "q4_k"
            assert block.tensors["mlp.down_proj.weight"].dtype == expected
            assert block.tensors["mlp.up_proj.weight"].dtype == "q4_k"
            assert block.tensors["input_layernorm.weight"].dtype == "fp32"
            down = next(op for op in block.ops if op.name == "mlp.down_proj")
            assert (down.attrs["weights"], down.work[0].format) == (expected, "fp16")


def test_experts_stored_one_by_one_in_several_types(tmp_path: Path) -> None:
    """Old Mixtral files: a tensor an expert; types may differ among them, and bytes still add up."""
    arch, meta, tensors = llama(Q4_K, count=1)
    for name in ("gate", "up", "down"):
        shape, _ = tensors.pop(f"blk.0.ffn_{name}.weight")
        for e in range(4):
            tensors[f"blk.0.ffn_{name}.{e}.weight"] = (shape, Q6_K if (name, e) == ("down", 0) else Q4_K)
    tensors["blk.0.ffn_gate_inp.weight"] = ((4, 512), Type.F16)
    graph = load_gguf(
        str(write(tmp_path / "x.gguf", arch, {**meta, "expert_count": 4, "expert_used_count": 2}, tensors))
    )
    assert weight_bytes(graph) == stored_bytes(tensors)
    block = next(b for b in graph.blocks if b.layers)
    down = next(op for op in block.ops if op.name == "mlp.experts.down_proj")
    env = {**unsharded(graph), "tokens": 10_000}  # enough that every expert is touched
    read = sum(evaluate(r.elements, env) for r in down.reads if "down_proj.weight" in r.tensor)
    assert read == pytest.approx(4 * 512 * 1536)
    assert {block.tensors[r.tensor].dtype for r in down.reads if "weight" in r.tensor} == {"q6_k", "q4_k"}


def test_split_files_are_one_model(tmp_path: Path) -> None:
    arch, meta, tensors = llama(Q4_K)
    names = list(tensors)
    first = write(tmp_path / "m-00001-of-00002.gguf", arch, meta, {n: tensors[n] for n in names[:9]}, split__count=2)
    write(tmp_path / "m-00002-of-00002.gguf", arch, {}, {n: tensors[n] for n in names[9:]}, split__count=2)
    graph = load_gguf(str(first))
    assert weight_bytes(graph) == stored_bytes(tensors)
    assert graph.attrs["file"]["files"] == 2
