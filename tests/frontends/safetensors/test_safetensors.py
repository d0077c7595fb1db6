"""Safetensors as the user names them: beside a configuration, or bare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speedlight._foundation.errors import BadFile, Unsupported
from speedlight._foundation.expr import evaluate
from speedlight.frontends.hf.config import Config
from speedlight.frontends.hf.load import load_hf
from speedlight.frontends.source import load_graph
from speedlight.graph.ir import Graph
from speedlight.graph.stats import forward_flops, kept, kv_bytes_per_token, parameters, step_symbols, unsharded

from .writing import Tensors, decoder, stored_bytes, write

QWEN3 = {"model_type": "qwen3", "hidden_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 128,
         "intermediate_size": 1536, "vocab_size": 1024, "num_hidden_layers": 3, "torch_dtype": "bfloat16"}  # fmt: skip


def weight_bytes(graph: Graph) -> float:
    return float(evaluate(kept(graph, "weight"), unsharded(graph)))


def flops(graph: Graph) -> float:
    env = {**unsharded(graph), **step_symbols(2, 100, 0), "caching": 1, "training": 0}
    return float(evaluate(forward_flops(graph), env, [{"count": 2, "new": 100, "cached": 0}]))


def test_a_bare_file_gives_the_configurations_graph(tmp_path: Path) -> None:
    tensors = decoder()
    bare = load_graph(str(write(tmp_path / "bare.safetensors", tensors)))
    known = load_hf(Config(QWEN3, "x"))[2]
    assert weight_bytes(bare) == stored_bytes(tensors) == weight_bytes(known)
    assert (flops(bare), parameters(bare), kv_bytes_per_token(bare)) == (
        flops(known), parameters(known), kv_bytes_per_token(known)
    )  # fmt: skip
    assert any("without a config.json" in str(value) for _, value in bare.attrs["assumptions"])
    assert bare.name == "bare"


def test_formats_of_a_bare_file_are_exact_and_can_be_overridden(tmp_path: Path) -> None:
    tensors = decoder()
    for i in range(3):  # norms in fp32, one projection too
        tensors[f"model.layers.{i}.input_layernorm.weight"] = ((512,), "F32")
    tensors["model.layers.1.mlp.up_proj.weight"] = ((1536, 512), "F32")
    path = str(write(tmp_path / "x.safetensors", tensors))
    graph = load_graph(path)
    assert weight_bytes(graph) == stored_bytes(tensors)
    assert sorted(b.layers for b in graph.blocks if b.layers) == [(0, 2), (1,)]
    narrow = load_graph(path, weights="fp8")
    assert weight_bytes(narrow) < 0.7 * weight_bytes(graph)


def test_old_files_rotary_tables_tell_the_heads(tmp_path: Path) -> None:
    tensors = decoder(q_norm=False)
    for i in range(3):
        tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = ((64,), "F32")
    graph = load_graph(str(write(tmp_path / "x.safetensors", tensors)))
    assert unsharded(graph)["heads"] == 4
    assert weight_bytes(graph) == stored_bytes(tensors)


def test_with_a_configuration_the_file_is_checked_against_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    tensors = decoder()
    path = write(tmp_path / "weights.safetensors", tensors)
    graph = load_graph(str(path))
    assert graph.attrs["file"]["weight_bytes"] == stored_bytes(tensors) == weight_bytes(graph)
    assert not [a for a in graph.attrs["assumptions"] if a[0] == "parameters"]
    write(tmp_path / "more.safetensors", tensors | {"visual.proj.weight": ((64, 64), "BF16")})
    other = load_graph(str(tmp_path / "more.safetensors"))
    assert [a for a in other.attrs["assumptions"] if a[0] == "parameters"]


def test_an_index_stands_for_its_files(tmp_path: Path) -> None:
    tensors = decoder()
    names = list(tensors)
    parts = {"model-1.safetensors": names[:15], "model-2.safetensors": names[15:]}
    for file, part in parts.items():
        write(tmp_path / file, {n: tensors[n] for n in part})
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {n: f for f, part in parts.items() for n in part}}))
    for place in (index, tmp_path, tmp_path / "model-2.safetensors"):
        graph = load_graph(str(place))
        assert weight_bytes(graph) == stored_bytes(tensors)
        assert graph.attrs["file"]["files"] == 2
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(BadFile, match="not there"):
        load_graph(str(index), kv="fp16")


REFUSED: list[tuple[str, Tensors, str]] = [
    ("heads", decoder(q_norm=False), "head_dim"),
    ("experts", decoder() | {"model.layers.0.mlp.experts.0.up_proj.weight": ((64, 512), "BF16")}
     | {"model.layers.3.mlp.gate.weight": ((8, 512), "BF16"), "model.layers.3.self_attn.q_proj.weight": ((512, 512), "BF16")},
     "experts"),
    ("adapter", {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": ((8, 512), "F32")}, "LoRA"),
    ("diffusion adapter", {"lora_unet_down_blocks.lora_down.weight": ((8, 512), "F32")}, "LoRA"),
    ("another model", {"conv1.weight": ((64, 3, 7, 7), "F32")}, "config.json"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tensors", "says"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_a_bare_file_does_not_say_is_named(name: str, tensors: Tensors, says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", tensors)
    with pytest.raises(Unsupported, match=says):
        load_graph(str(path))


def test_a_folder_with_only_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(Unsupported, match="LoRA"):
        load_graph(str(tmp_path))
