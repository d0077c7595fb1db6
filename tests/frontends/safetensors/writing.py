"""Writes safetensors files: whole headers, and a hole where the data would be."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path

WIDTH = {"F32": 4, "BF16": 2, "F16": 2, "U8": 1, "F8_E4M3": 1}
Tensors = dict[str, tuple[tuple[int, ...], str]]


def stored_bytes(tensors: Mapping[str, tuple[tuple[int, ...], str]]) -> int:
    return sum(prod(shape) * WIDTH[dtype] for shape, dtype in tensors.values())


def write(path: Path, tensors: Tensors) -> Path:
    header, end = {}, 0
    for name, (shape, dtype) in tensors.items():
        size = prod(shape) * WIDTH[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + end)
    return path


def decoder(hidden: int = 512, heads: int = 4, kv: int = 2, dim: int = 128, width: int = 1536, vocab: int = 1024,
            layers: int = 3, *, q_norm: bool = True, dtype: str = "BF16") -> Tensors:  # fmt: skip
    found: Tensors = {"model.embed_tokens.weight": ((vocab, hidden), dtype), "lm_head.weight": ((vocab, hidden), dtype),
                      "model.norm.weight": ((hidden,), dtype)}  # fmt: skip
    for i in range(layers):
        shapes = {
            "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,), "self_attn.q_proj": (heads * dim, hidden),
            "self_attn.k_proj": (kv * dim, hidden), "self_attn.v_proj": (kv * dim, hidden),
            "self_attn.o_proj": (hidden, heads * dim), "mlp.gate_proj": (width, hidden), "mlp.up_proj": (width, hidden),
            "mlp.down_proj": (hidden, width),
        }  # fmt: skip
        if q_norm:
            shapes |= {"self_attn.q_norm": (dim,), "self_attn.k_norm": (dim,)}
        found |= {f"model.layers.{i}.{name}.weight": (shape, dtype) for name, shape in shapes.items()}
    return found
