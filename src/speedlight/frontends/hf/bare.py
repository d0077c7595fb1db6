"""Safetensors files as the user names them: with the ``config.json`` beside them, else from tensor names and shapes alone.

Shapes determine a decoder in Llama's mould but for one thing: into how many heads its projections divide. A norm over each
query head, old files' rotary tables or one sink a head tell that; where nothing does, the file is refused with the reason.
How many experts a token picks is in no file either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadFile, Unsupported
from ...graph.grammar import check
from ...graph.ir import Graph
from ..formats import Formats, override
from ..gguf_file.describe import describe, layers_of
from ..gguf_file.roles import sources_of
from ..weight_files.exact import layer_rules, with_stored
from ..weight_files.table import Stored, facts
from .build import build_graph
from .config import MOST_LAYERS, Config
from .load import load_hf
from .weights import read_tables, read_weights

_LORA = re.compile(r"\.(lora_[AB]|lora_(up|down)|lora_embedding_[AB])\b|\.lora\.(up|down)\.")
_LAYER = re.compile(r"^(?:model\.|language_model\.model\.|model\.language_model\.)?layers\.(\d{1,5})\.(.+)$")
_OUTER = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight",
          "lm_head.weight": "output.weight"}  # fmt: skip
_INNER = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.sinks": "attn_sinks", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "self_attn.rotary_emb.inv_freq": "inv_freq",
}  # fmt: skip
_HINT = "put the model's config.json beside the file"


def load_safetensors(
    path: Path, dtype: str | None = None, weights: str | None = None, activations: str | None = None,
    kv: str | None = None, mtp: int = 0,
) -> Graph:  # fmt: skip
    """The graph of a ``.safetensors`` file, its index, or a folder of such files.

    Raises:
        BadFile: for a file that is missing or malformed.
        Unsupported: for adapters, and for files that do not say enough without a ``config.json``.
    """
    folder = path if path.is_dir() else path.parent
    adapter = folder / "adapter_config.json"
    if not path.exists():
        raise BadFile(f"{path} does not exist", expected="a safetensors file, its index or a folder of them")
    if (folder / "config.json").is_file():
        beside = None if path.is_dir() else path
        if beside is not None:
            _refuse_adapter(beside, read_tables(beside))
        graph = load_hf(folder / "config.json", dtype, weights, activations, kv, mtp, beside)[2]
        return graph.replace(name=folder.resolve().name if path.is_dir() else path.name.split(".")[0])
    found = read_tables(path)
    _refuse_adapter(path, found)
    if found is None:
        if adapter.is_file():
            raise _is_adapter(folder)
        raise BadFile(f"{folder} has neither a config.json nor safetensors files", expected="one of them")
    tensors, files = found
    where = str(path)
    layers, outer, unplaced = _renamed(tensors)
    meta, notes = _sizes(where, layers, outer, tensors)
    arch = describe(meta, layers, outer, folder.resolve().name if path.is_dir() else path.name.split(".")[0])
    quantised = read_weights(path)
    stated = Formats(
        quantised.main_format if quantised is not None else "bf16",
        rules=layer_rules(layers, where),
    )
    asked = override(stated, dtype, weights, activations, kv)
    graph = build_graph(arch, asked if dtype or weights else override(stated, None, None, activations, kv), mtp)
    if not (dtype or weights):
        placements = [layer.placement for layer in arch.layers]
        table = {t.name: t for t in _flat(layers, outer)} | unplaced
        graph, _ = with_stored(graph, table, lambda n, i: sources_of(n, i, layers, placements, 0), where)
    attrs = {
        **graph.attrs, "assumptions": (*notes, *graph.attrs["assumptions"]), "file": facts(tensors.values(), files)
    }  # fmt: skip
    return check(graph.replace(attrs=attrs))


def _is_adapter(place: Path) -> Unsupported:
    return Unsupported(
        f"{place} holds a LoRA adapter, no model",
        expected="a model's weights",
        hint="explain the model it adapts; merged, an adapter changes no time",
    )


def _refuse_adapter(path: Path, found: tuple[Mapping[str, Stored], int] | None) -> None:
    if found is not None and any(_LORA.search(name) for name in found[0]):
        raise _is_adapter(path)


def _renamed(
    tensors: Mapping[str, Stored],
) -> tuple[list[dict[str, Stored]], dict[str, Stored], dict[str, Stored]]:
    """(layers, outer tensors, tensors without a place) under the names :mod:`..gguf_file.describe` reads."""
    names: dict[str, Stored] = {}
    unplaced: dict[str, Stored] = {}
    sandwich = any(name.endswith(".pre_feedforward_layernorm.weight") for name in tensors)
    branch = not sandwich and any(name.endswith(".post_feedforward_layernorm.weight") for name in tensors)
    norms = {"post_attention_layernorm": "ffn_norm"}
    if sandwich or branch:
        norms = {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm",
                 "pre_feedforward_layernorm": "ffn_norm"}  # fmt: skip
    for name, tensor in tensors.items():
        inner = _LAYER.match(name)
        if inner:
            module, dot, kind = inner[2].rpartition(".")
            if inner[2] in _INNER:  # sinks and rotary tables are no modules
                module, dot, kind = inner[2], "", ""
            role = _INNER.get(module) or norms.get(module)
            key = f"blk.{int(inner[1])}.{role}{dot}{kind}" if role else None
        else:
            key = _OUTER.get(
                name.removeprefix("language_model.").removeprefix("model.").removeprefix("language_model.")
            )
        if key is None or key in names:
            unplaced[name] = tensor
        else:
            names[key] = Stored(key, tensor.shape, tensor.format, tensor.bytes)
    count = max((int(n.split(".")[1]) + 1 for n in names if n.startswith("blk.")), default=0)
    layers, outer = layers_of(names, min(count, MOST_LAYERS))
    return layers, outer, unplaced


def _flat(layers: list[dict[str, Stored]], outer: dict[str, Stored]) -> list[Stored]:
    return [*outer.values(), *[t for layer in layers for t in layer.values()]]


def _sizes(
    where: str, layers: list[dict[str, Stored]], outer: dict[str, Stored], tensors: Mapping[str, Stored]
) -> tuple[Config, list[tuple[str, Any]]]:
    """The metadata that shapes determine.

    Raises:
        Unsupported: naming what they do not determine.
    """
    first = layers[0] if layers else {}
    needed = ("attn_q.weight", "attn_k.weight", "attn_output.weight", "ffn_down.weight")
    missing = [n for n in needed if any(n not in layer for layer in layers)]
    if not layers or "token_embd.weight" not in outer or missing:
        experts = any("experts" in n for n in tensors)
        sample = ", ".join(list(tensors)[:3])
        raise Unsupported(
            f"{where} does not say how many experts a token picks" if experts else
            f"{where} has no config.json beside it, and its tensor names are not those of a Llama-like decoder ({sample[:120]})",
            expected="model.layers.N.self_attn.q_proj.weight and so on", hint=_HINT,
        )  # fmt: skip
    q, k = first["attn_q.weight"], first["attn_k.weight"]
    dim, why = _head_dim(first)
    if dim is None:
        raise Unsupported(
            f"{where} does not say into how many heads its {q.rows} query features divide (head_dim)",
            expected="a norm over each query head (q_norm), or a config.json", hint=_HINT,
        )  # fmt: skip
    if not 0 < dim <= q.rows or q.rows % dim or k.rows % dim:
        raise BadFile(f"{where}: heads of {dim} do not divide {q.rows} and {k.rows} features", expected="whole heads")
    hidden = outer["token_embd.weight"].columns
    fields = {
        "model_type": "llama", "embedding_length": hidden, "attention.head_count": q.rows // dim,
        "attention.head_count_kv": k.rows // dim, "attention.key_length": dim, "block_count": len(layers),
        "context_length": 10**9, "attention.layer_norm_rms_epsilon": 1e-6,
    }  # fmt: skip
    notes: list[tuple[str, Any]] = [
        ("architecture", f"from tensor names and shapes, without a config.json: heads of {dim} by {why}"),
        ("not in the file", "RMS norms, SiLU, rotary positions and full attention are assumed"),
    ]
    return Config(fields, where), notes


def _head_dim(first: Mapping[str, Stored]) -> tuple[int | None, str]:
    q = first["attn_q.weight"]
    norm = first.get("attn_q_norm.weight")
    if norm is not None and norm.elements < q.rows:
        return norm.elements, "the query norm"
    if "inv_freq" in first:
        return 2 * first["inv_freq"].elements, "the rotary table"
    if "attn_sinks" in first and first["attn_sinks"].elements:
        return q.rows // first["attn_sinks"].elements, "the attention sinks"
    return None, ""
