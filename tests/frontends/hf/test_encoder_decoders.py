"""Encoder–decoders: as many parameters and matrix FLOPs as transformers' modules, and the laws of their two halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from speedlight.graph import stats

from .helpers import at, graph_of

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

T5: dict[str, Any] = {"d_model": 96, "d_kv": 20, "d_ff": 200, "num_layers": 4, "num_heads": 6, "vocab_size": 1000,
                      "decoder_start_token_id": 0, "pad_token_id": 0}  # fmt: skip
BART: dict[str, Any] = {"d_model": 96, "vocab_size": 1000, "encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 6,
                        "decoder_attention_heads": 4, "encoder_ffn_dim": 200, "decoder_ffn_dim": 300,
                        "max_position_embeddings": 64, "pad_token_id": 1}  # fmt: skip
WHISPER: dict[str, Any] = {
    **{k: v for k, v in BART.items() if k != "max_position_embeddings"}, "max_source_positions": 50, "max_target_positions": 64,
    "num_mel_bins": 20, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
SWITCH = {**T5, "model_type": "switch_transformers", "num_experts": 8, "num_decoder_layers": 4, "num_sparse_encoder_layers": 2,
          "num_sparse_decoder_layers": 1}  # fmt: skip
SOURCE, TARGET = 40, 24


def _pair(model: Any) -> Any:
    from .references import ids

    return model(input_ids=ids(2, SOURCE), decoder_input_ids=ids(2, TARGET))


def _sound(model: Any) -> Any:
    from .references import ids, zeros

    return model(input_features=zeros(2, 20, 100), decoder_input_ids=ids(2, TARGET))


CASES: dict[str, tuple[dict[str, Any], str, Callable[[Any], Any], int]] = {
    "t5": ({"model_type": "t5", **T5}, "T5ForConditionalGeneration", _pair, SOURCE),
    "t5-gated": ({"model_type": "t5", **T5, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 3},
                 "T5ForConditionalGeneration", _pair, SOURCE),
    "umt5": ({"model_type": "umt5", **T5}, "UMT5ForConditionalGeneration", _pair, SOURCE),
    "bart": ({"model_type": "bart", **BART}, "BartForConditionalGeneration", _pair, SOURCE),
    "mbart": ({"model_type": "mbart", **BART}, "MBartForConditionalGeneration", _pair, SOURCE),
    "marian": ({"model_type": "marian", **BART}, "MarianMTModel", _pair, SOURCE),
    "pegasus": ({"model_type": "pegasus", **BART}, "PegasusForConditionalGeneration", _pair, SOURCE),
    "whisper": ({"model_type": "whisper", **WHISPER}, "WhisperForConditionalGeneration", _sound, 50),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parameters_and_flops_are_those_of_the_module(name: str) -> None:
    from . import references as r

    config, cls, call, source = CASES[name]
    model, graph = r.transformers_model(config, cls), graph_of(config)
    assert stats.parameters(graph) == r.parameters(model)
    assert r.our_flops(graph, 2, TARGET, source=source) == r.flops(model, call)


def test_a_switch_transformer_has_as_many_parameters() -> None:
    """Routing depends on data, so that the module cannot run without any: parameters only."""
    from . import references as r

    assert stats.parameters(graph_of(SWITCH)) == r.parameters(
        r.transformers_model(SWITCH, "SwitchTransformersForConditionalGeneration")
    )


def test_the_encoder_alone() -> None:
    from . import references as r

    config = {"model_type": "t5", **T5, "architectures": ["T5EncoderModel"]}
    model, graph = r.transformers_model(config, "T5EncoderModel"), graph_of(config)
    assert stats.parameters(graph) == r.parameters(model)
    assert r.our_flops(graph, 2, SOURCE) == r.flops(model, lambda m: m(r.ids(2, SOURCE)))


def _flops(**sizes: Any) -> float:
    graph = graph_of({"model_type": "t5", **T5})
    total = sum((op.flops("matmul") * op.count * block.count for block, op in graph.ops()), start=_zero())
    source = sizes.pop("source")
    from speedlight._foundation.expr import substitute

    return at(graph, substitute(total, {"source": source}), **sizes)


def _zero() -> Any:
    from speedlight._foundation.expr import const

    return const(0)


def test_a_source_is_read_once() -> None:
    """Later steps attend to what the first cached of it: nothing of the encoder, no keys and values, are computed again."""
    first, later = _flops(source=512, count=2, new=1, cached=0), _flops(source=512, count=2, new=1, cached=1)
    encoded = _flops(source=1024, count=2, new=1, cached=0) - first
    assert later < 0.05 * first
    assert encoded > 0.9 * first
    # Beyond the first step a longer source costs only the products with its cached keys and values.
    more = _flops(source=1024, count=2, new=1, cached=1) - later
    assert more == 2 * 4 * (2 * 2 * 6 * 20) * 512  # two sequences, four layers, two products


def test_work_is_linear_in_the_batch() -> None:
    assert _flops(source=100, count=6, new=7, cached=0) == 6 * _flops(source=100, count=1, new=7, cached=0)


def test_cross_attention_keeps_the_source() -> None:
    """Beside its own tokens a decoder keeps keys and values of every source position, in every layer."""
    from speedlight._foundation.expr import substitute

    graph = graph_of({"model_type": "t5", **T5})
    kept = stats.kept(graph, "kv")
    short, long = (at(graph, substitute(kept, {"source": n}), count=3, cached=9) for n in (100, 101))
    assert long - short == 3 * 4 * 2 * 6 * 20 * 2  # sequences, layers, keys and values, heads, width, bytes
