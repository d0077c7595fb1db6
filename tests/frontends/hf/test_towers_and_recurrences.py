"""Image towers, disentangled attention, linear recurrences: exact against transformers' modules, and by hand."""

from __future__ import annotations

from typing import Any

import pytest

from speedlight._foundation.expr import substitute
from speedlight.graph import stats

from .helpers import at, flops, graph_of

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

S: dict[str, Any] = {
    "vocab_size": 1000,
    "hidden_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "intermediate_size": 200,
}
V: dict[str, Any] = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 200, "image_size": 64,
                     "patch_size": 16}  # fmt: skip
LM: dict[str, Any] = {"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                      "intermediate_size": 100}  # fmt: skip
V3 = {"model_type": "deberta-v2", **S, "relative_attention": True, "position_buckets": 32, "norm_rel_ebd": "layer_norm",
      "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0}  # fmt: skip
LLAVA = {
    "model_type": "llava",
    "vision_config": {"model_type": "clip_vision_model", **V},
    "text_config": {"model_type": "llama", **LM},
}
RWKV6 = {"model_type": "rwkv6", "vocab_size": 1000, "hidden_size": 128, "num_hidden_layers": 2}
RETNET = {"model_type": "retnet", "vocab_size": 1000, "decoder_embed_dim": 96, "decoder_value_embed_dim": 160, "decoder_layers": 2,
          "decoder_ffn_embed_dim": 200, "decoder_retention_heads": 4, "use_glu": True}  # fmt: skip

SPEECH: dict[str, Any] = {k: v for k, v in S.items() if k != "vocab_size"} | {
    "conv_dim": [32, 48, 48], "conv_kernel": [10, 3, 2], "conv_stride": [5, 2, 2], "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "num_feat_extract_layers": 3,
}  # fmt: skip

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "deberta-v3": (V3, "DebertaV2ForMaskedLM"),
    "deberta-v3-bare": ({**V3, "architectures": ["DebertaV2Model"]}, "DebertaV2Model"),
    "deberta-v2": ({"model_type": "deberta-v2", **S, "relative_attention": True, "pos_att_type": ["p2c", "c2p"],
                    "max_position_embeddings": 64, "type_vocab_size": 2}, "DebertaV2ForMaskedLM"),
    "deberta": ({"model_type": "deberta", **S, "relative_attention": True, "pos_att_type": ["p2c", "c2p"],
                 "position_biased_input": False, "max_position_embeddings": 64, "type_vocab_size": 0}, "DebertaForMaskedLM"),
    "siglip": ({"model_type": "siglip", "vision_config": V, "text_config": {**S, "max_position_embeddings": 20}}, "SiglipModel"),
    "siglip-vision": ({"model_type": "siglip_vision_model", **V}, "SiglipVisionModel"),
    "siglip-vision-bare": ({"model_type": "siglip_vision_model", **V, "vision_use_head": False}, "SiglipVisionModel"),
    "siglip-text": ({"model_type": "siglip_text_model", **S, "max_position_embeddings": 20}, "SiglipTextModel"),
    "rwkv": ({"model_type": "rwkv", "vocab_size": 1000, "hidden_size": 96, "num_hidden_layers": 3, "attention_hidden_size": 64,
              "intermediate_size": 200}, "RwkvForCausalLM"),
    "wav2vec2": ({"model_type": "wav2vec2", **SPEECH}, "Wav2Vec2Model"),
    "wav2vec2-stable": ({"model_type": "wav2vec2", **SPEECH, "do_stable_layer_norm": True, "feat_extract_norm": "layer",
                         "conv_bias": True, "mask_time_prob": 0.0}, "Wav2Vec2Model"),
    "wav2vec2-letters": ({"model_type": "wav2vec2", **SPEECH, "architectures": ["Wav2Vec2ForCTC"], "vocab_size": 32},
                         "Wav2Vec2ForCTC"),
    "hubert": ({"model_type": "hubert", **SPEECH}, "HubertModel"),
    "llava": (LLAVA, "LlavaForConditionalGeneration"),
    "qwen2_vl": ({"model_type": "qwen2_vl", "tie_word_embeddings": False, "text_config": LM,
                  "vision_config": {"embed_dim": 96, "depth": 3, "num_heads": 6, "hidden_size": 64}},
                 "Qwen2VLForConditionalGeneration"),
    "qwen2_5_vl": ({"model_type": "qwen2_5_vl", "tie_word_embeddings": False, "text_config": LM,
                    "vision_config": {"hidden_size": 96, "depth": 3, "num_heads": 6, "out_hidden_size": 64,
                                      "intermediate_size": 120, "fullatt_block_indexes": [1]}},
                   "Qwen2_5_VLForConditionalGeneration"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_those_of_the_module(name: str) -> None:
    from . import references as r

    config, cls = CASES[name]
    assert stats.parameters(graph_of(config)) == r.parameters(r.transformers_model(config, cls))


def _looks(model: Any) -> Any:
    from .references import zeros

    return model(pixel_values=zeros(2, 3, 64, 64))


def _compares(model: Any) -> Any:
    from .references import ids, zeros

    return model(input_ids=ids(2, 20), pixel_values=zeros(2, 3, 64, 64))


def _hears(model: Any) -> Any:
    from .references import zeros

    return model(zeros(2, _reach(30)))


def _reach(positions: int) -> int:
    """Samples that give so many positions and not one more."""
    for kernel, stride in ((2, 2), (3, 2), (10, 5)):
        positions = (positions - 1) * stride + kernel
    return positions


@pytest.mark.parametrize(
    ("name", "call", "positions"),
    [("siglip", _compares, 16), ("siglip-vision", _looks, 16), ("wav2vec2", _hears, 30), ("wav2vec2-letters", _hears, 30),
     ("hubert", _hears, 30)],
)  # fmt: skip
def test_flops_are_those_of_the_module(name: str, call: Any, positions: int) -> None:
    from . import references as r

    config, cls = CASES[name]
    assert r.our_flops(graph_of(config), 2, positions) == r.flops(r.transformers_model(config, cls), call)


def test_positions_of_a_recording() -> None:
    from speedlight._foundation.expr import evaluate

    graph = graph_of({"model_type": "wav2vec2", **SPEECH})
    for positions in (1, 7, 30):
        seconds = _reach(positions) / 16_000
        assert evaluate(graph.attrs["length"], {"seconds": seconds}) == positions
        assert evaluate(graph.attrs["length"], {"seconds": seconds + 19 / 16_000}) == positions


def test_disentangled_attention_by_hand() -> None:
    """Beside what BERT does: two products of every token with 64 positions, and those positions projected once a step."""
    graph = graph_of({**V3, "architectures": ["DebertaV2Model"]})
    plain = graph_of({"model_type": "bert", **S, "type_vocab_size": 0, "architectures": ["BertForMaskedLM"]})
    encoder = sum(
        at(plain, op.flops("matmul") * op.count * b.count, 3, 40) for b, op in plain.ops() if b.name == "layers"
    )  # fmt: skip
    rows = 2 * 32
    positions = 4 * 2 * (2 * rows * 96 * 96)  # four layers, keys and queries
    products = 4 * 2 * (2 * 3 * 40 * rows * 96)
    assert flops(graph, count=3, new=40) == encoder + positions + products


def _seen(images: int, **sizes: Any) -> float:
    graph = graph_of(LLAVA)
    total = sum((op.flops("matmul") * op.count * b.count for b, op in graph.ops()), start=_zero())
    return at(graph, substitute(total, {"images": images}), **sizes)


def _zero() -> Any:
    from speedlight._foundation.expr import const

    return const(0)


def test_a_tower_works_for_pictures_of_fresh_prompts_only() -> None:
    language = graph_of({"model_type": "llama", **LM})
    assert _seen(0, count=2, new=30) == flops(language, count=2, new=30)
    assert _seen(1, count=2, new=1, cached=500) == flops(language, count=2, new=1, cached=500)
    one, two = (_seen(n, count=2, new=30) - _seen(0, count=2, new=30) for n in (1, 2))
    assert two == 2 * one > 0


@pytest.mark.parametrize("config", [RWKV6, RETNET, {**RWKV6, "model_type": "rwkv5"}])
def test_a_linear_recurrence_keeps_no_more_for_a_longer_past(config: dict[str, Any]) -> None:
    graph = graph_of(config)
    kept = stats.kept(graph, "state")
    assert at(graph, kept, cached=10) == at(graph, kept, cached=10**6) > 0
    assert stats.kv_bytes_per_token_short(graph) == 0
    assert flops(graph, new=1, cached=10) == flops(graph, new=1, cached=10**6)


def test_rwkv_6_by_hand() -> None:
    """A layer: five square maps, the low-rank ones of the mix (5 × 32) and of the decay (64), a 3.5 times wide feed-forward."""
    d, wide = 128, 448
    attention = 5 * d * d + 2 * (5 * 32 * d) + 2 * 64 * d + 6 * d + 2 * d + 2 * d
    mixing = 2 * d * wide + d * d + 2 * d
    assert stats.parameters(graph_of(RWKV6)) == 2 * (attention + mixing + 4 * d) + 2 * 1000 * d + 4 * d


def test_retention_by_hand() -> None:
    """Queries and keys of the width, values, gate and output of the values' width, a gated feed-forward."""
    d, v, f = 96, 160, 200
    assert stats.parameters(graph_of(RETNET)) == 2 * (2 * d * d + 3 * d * v + 3 * d * f + 2 * d) + d + 2 * 1000 * d
