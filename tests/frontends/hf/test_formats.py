"""Number formats: what configurations state, and what a user asks for instead."""

from __future__ import annotations

from typing import Any

import pytest

from speedlight._foundation.errors import UnknownName
from speedlight.frontends.formats import Formats, Rule, matches, override, rules_of
from speedlight.frontends.hf import Config, formats_of
from speedlight.frontends.zoo import zoo_entry
from speedlight.graph import stats

from .helpers import at, bundled, graph_of

BASE = {"model_type": "llama", "vocab_size": 1000, "hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 6,
        "intermediate_size": 200}  # fmt: skip


def read(**fields: Any) -> Formats:
    return formats_of(Config({**BASE, **fields}))


def stated(name: str) -> Formats:
    entry = zoo_entry(name)
    assert entry is not None
    return formats_of(Config(entry["config"]))


def test_plain_dtypes() -> None:
    assert read() == Formats("bf16")
    assert read(torch_dtype="float16") == Formats("fp16")
    assert read(dtype="float32") == Formats("fp32")
    assert read(text_config={"dtype": "float32"}) == Formats("fp32")
    assert read(torch_dtype="auto") == Formats("bf16")


@pytest.mark.parametrize(
    ("quantization", "weights", "activations", "kv"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8_block", "fp8", None),
        ({"quant_method": "fp8"}, "fp8", "fp8", None),
        ({"quant_method": "fbgemm_fp8"}, "fp8", "fp8", None),
        ({"quant_method": "awq", "bits": 4}, "int4_asym", None, None),
        ({"quant_method": "gptq", "bits": 4}, "int4", None, None),
        ({"quant_method": "gptq", "bits": 8}, "int8", None, None),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8", "int8", None),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4_g64", None, None),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_scheme": {"type": "float", "num_bits": 8}},
         "nvfp4", "nvfp4", "fp8"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 8, "type": "int"},
          "input_activations": {"num_bits": 8, "type": "int"}}}}, "int8", "int8", None),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4, "type": "int",
          "group_size": 128}}}}, "int4", None, None),
        ({"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized", "config_groups": {"g": {"weights": {
          "num_bits": 4, "type": "float", "group_size": 32}}}}, "mxfp4", None, None),
    ],
)  # fmt: skip
def test_quantization_methods(
    quantization: dict[str, Any], weights: str, activations: str | None, kv: str | None
) -> None:
    found = read(quantization_config=quantization)
    assert (found.weights, found.activations, found.kv) == (weights, activations, kv)
    graph_of({**BASE, "quantization_config": quantization})


def test_hf_quant_config_wins() -> None:
    companion = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    found = read(hf_quant_config=companion, quantization_config={"quant_method": "awq"})
    assert (found.weights, found.activations, found.kv) == ("fp8", "fp8", "fp8")


def test_gpt_oss_has_only_its_experts_in_mxfp4() -> None:
    """116.8 B parameters: 114.7 B of experts at 4.25 bits, the rest in bf16: the 61–65 GB of its files."""
    graph = bundled("gpt-oss-120b")
    by_format = {
        t.dtype
        for b in graph.blocks
        for n, t in b.tensors.items()
        if t.cls == "weight" and n.endswith("up_proj.weight")
    }
    assert by_format == {"mxfp4"}
    assert at(graph, stats.kept(graph, "weight")) == pytest.approx(65.2e9, rel=0.01)


def test_layers_named_by_a_checkpoint_stay_unquantised() -> None:
    """A rule for layer 1 splits the fold in two; one for every layer does not."""
    quantization = {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.1.self_attn", "lm_head"]}
    graph = graph_of({**BASE, "quantization_config": quantization})
    counts = {b.layers: b.tensors["self_attn.q_proj.weight"].dtype for b in graph.blocks if b.layers}
    assert counts == {(0, 2, 3): "fp8", (1,): "bf16"}
    everywhere = {"quant_method": "fp8", "modules_to_not_convert": [f"model.layers.{i}.self_attn" for i in range(4)]}
    assert len(graph_of({**BASE, "quantization_config": everywhere}).blocks) == 3


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("lm_head", [Rule("lm_head")]),
        ("model.layers.3.mlp.gate", [Rule("mlp.gate", 3)]),
        ("model.layers.0*", [Rule("*", 0)]),
        ("model.layers.*.self_attn", [Rule("self_attn")]),
        ("language_model.model.layers.10.self_attn*", [Rule("self_attn*", 10)]),
        ("backbone.layers.4.mixer.in_proj", [Rule("mixer.in_proj", 4)]),
        ("backbone.layers.5.mixer.q_proj", [Rule("self_attn.q_proj", 5)]),
        ("model.layers.7.block_sparse_moe.gate", [Rule("mlp.gate", 7)]),
        ("re:.*mlp\\.(up|down)_proj.*", [Rule("*mlp.up_proj*"), Rule("*mlp.down_proj*")]),
        ("*.attn.*", [Rule("*.self_attn.*")]),
    ],
)
def test_patterns(pattern: str, expected: list[Rule]) -> None:
    assert rules_of(pattern) == expected


def test_names_match_whole_components() -> None:
    assert matches("model.layers.*.mlp.gate", "gate")
    assert not matches("model.layers.*.mlp.gate_proj", "gate")
    assert matches("model.layers.*.self_attn.q_proj", "self_attn")
    assert matches("model.layers.*.self_attn.q_proj", "*self_attn*")
    assert matches("model.layers.*.mlp.experts", "*")


def test_dtype_is_for_everything() -> None:
    fp8 = stated("deepseek-v3")
    assert fp8.weights == "fp8_block"
    assert override(fp8, dtype="bf16") == Formats("bf16")
    assert override(fp8, dtype="float16", kv="fp8") == Formats("fp16", kv="fp8")


def test_weights_alone() -> None:
    plain = Formats("bf16")
    assert override(plain, weights="fp8") == Formats("bf16", "fp8", "fp8")
    assert override(plain, weights="int4") == Formats("bf16", "int4")
    assert override(plain, weights="nvfp4") == Formats("bf16", "nvfp4")
    assert override(plain, weights="bf16") == Formats("bf16")
    assert override(plain, weights="int4", activations="fp8") == Formats("bf16", "int4", "fp8")
    assert override(plain, weights="awq") == Formats("bf16", "int4_asym")
    assert override(stated("deepseek-v3"), weights="int4") == Formats("bf16", "int4")
    assert override(stated("gpt-oss-20b"), weights="fp8") == Formats("bf16", "fp8", "fp8")
    assert override(stated("llama-3.1-70b-fp8"), weights="int4").kv == "fp8"


def test_nothing_asked_changes_nothing() -> None:
    for name in ("llama-3.1-8b", "gpt-oss-120b", "qwen3.6-35b-a3b-nvfp4"):
        assert override(stated(name)) == stated(name)


def test_unknown_formats_suggest_known_ones() -> None:
    with pytest.raises(UnknownName, match="number format"):
        override(Formats(), dtype="bf17")


def test_weight_only_formats_multiply_in_the_activations_format() -> None:
    graph = graph_of({**BASE, "quantization_config": {"quant_method": "awq", "bits": 4}})
    linear = next(op for _, op in graph.ops() if op.name == "mlp.up_proj")
    assert [w.format for w in linear.work] == ["bf16"]
    head = next(op for _, op in graph.ops() if op.name == "lm_head")
    assert all(graph.tensor(graph.blocks[-1], r.tensor).dtype == "bf16" for r in head.reads)
