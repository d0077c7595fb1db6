"""Writes GGUF files with the ``gguf`` library: whole headers, and a hole where the data would be."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")
Type = gguf.GGMLQuantizationType
F32, Q4_K, Q6_K, Q8_0 = Type.F32, Type.Q4_K, Type.Q6_K, Type.Q8_0
Tensors = dict[str, tuple[tuple[int, ...], Any]]  # name → (shape, output features first; type)


def stored_bytes(tensors: Mapping[str, tuple[tuple[int, ...], Any]]) -> int:
    return sum(
        prod(shape) // gguf.GGML_QUANT_SIZES[t][0] * gguf.GGML_QUANT_SIZES[t][1] for shape, t in tensors.values()
    )


def write(path: Path, arch: str, meta: Mapping[str, Any], tensors: Tensors, tokens: int = 0, **general: Any) -> Path:
    """A file as llama.cpp's converter lays it out.

    Args:
        meta: metadata of the architecture, without its prefix.
        tokens: entries of a vocabulary.
        general: further metadata as they are (dots written ``__``).
    """
    w = gguf.GGUFWriter(path, arch)
    for key, value in {**{f"{arch}.{k}": v for k, v in meta.items()},
                       **{k.replace("__", "."): v for k, v in general.items()}}.items():  # fmt: skip
        add = {bool: w.add_bool, int: w.add_uint32, float: w.add_float32, list: w.add_array, str: w.add_string}
        add[type(value)](key, value)
    if tokens:
        w.add_array("tokenizer.ggml.tokens", [f"token{i}" for i in range(tokens)])
    end = 0
    for name, (shape, kind) in tensors.items():
        values, size = gguf.GGML_QUANT_SIZES[kind]
        nbytes = prod(shape) // values * size
        w.add_tensor_info(name, (*shape[:-1], shape[-1] // values * size), np.dtype("uint8"), nbytes, raw_dtype=kind)
        end += -(-nbytes // 32) * 32
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    header = -(-w.fout[0].tell() // 32) * 32
    w.fout[0].truncate(header + end)
    w.close()
    return path


def layer(i: int, parts: Tensors) -> Tensors:
    return {f"blk.{i}.{name}": entry for name, entry in parts.items()}


def attention(hidden: int, heads: int, kv: int, dim: int, q: Any = Q4_K, **more: Any) -> Tensors:
    """q, k, v and output; ``v=Type`` for another type of v, ``bias=names`` for biases, ``norm=elements``."""
    found: Tensors = {
        "attn_norm.weight": ((hidden,), F32), "attn_q.weight": ((heads * dim, hidden), q),
        "attn_k.weight": ((kv * dim, hidden), q), "attn_v.weight": ((kv * dim, hidden), more.get("v", q)),
        "attn_output.weight": ((hidden, heads * dim), q),
    }  # fmt: skip
    for name in more.get("bias", ()):
        found[f"attn_{name}.bias"] = ((found[f"attn_{name}.weight"][0][0],), F32)
    if "norm" in more:
        found |= {"attn_q_norm.weight": ((more["norm"],), F32), "attn_k_norm.weight": ((more["norm"],), F32)}
    return found


def gated(hidden: int, width: int, q: Any = Q4_K, down: Any = None) -> Tensors:
    return {
        "ffn_norm.weight": ((hidden,), F32), "ffn_gate.weight": ((width, hidden), q), "ffn_up.weight": ((width, hidden), q),
        "ffn_down.weight": ((hidden, width), down or q),
    }  # fmt: skip


def experts(hidden: int, width: int, count: int, q: Any = Q4_K, down: Any = None, shared: int = 0) -> Tensors:
    found: Tensors = {
        "ffn_norm.weight": ((hidden,), F32), "ffn_gate_inp.weight": ((count, hidden), F32),
        "ffn_gate_exps.weight": ((count, width, hidden), q), "ffn_up_exps.weight": ((count, width, hidden), q),
        "ffn_down_exps.weight": ((count, hidden, width), down or q),
    }  # fmt: skip
    if shared:
        found |= {"ffn_gate_shexp.weight": ((shared, hidden), q), "ffn_up_shexp.weight": ((shared, hidden), q),
                  "ffn_down_shexp.weight": ((hidden, shared), q)}  # fmt: skip
    return found


def ends(hidden: int, vocab: int, q: Any = Q4_K, *, tied: bool = False) -> Tensors:
    found: Tensors = {"token_embd.weight": ((vocab, hidden), q), "output_norm.weight": ((hidden,), F32)}
    return found if tied else {**found, "output.weight": ((vocab, hidden), Q6_K)}


def llama(q: Any = Q4_K, count: int = 4, more: Any = None) -> tuple[str, dict[str, Any], Tensors]:
    """A small Llama; ``more`` is the type of v and down in the layers with even index, as Q4_K_M mixes them."""
    tensors = ends(512, 1024, q)
    for i in range(count):
        better = more if more is not None and i % 2 == 0 else q
        tensors |= layer(i, attention(512, 4, 2, 128, q, v=better) | gated(512, 1536, q, better))
    meta = {
        "block_count": count, "embedding_length": 512, "attention.head_count": 4, "attention.head_count_kv": 2,
        "feed_forward_length": 1536, "context_length": 4096, "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": 128,
    }  # fmt: skip
    return "llama", meta, tensors
