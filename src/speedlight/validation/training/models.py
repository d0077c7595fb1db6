"""The model of a row: a bundled one by its name where it has experts, else a configuration made of the row's dimensions.

Dimensions are what a row states; names are understood as :func:`speedlight.frontends.zoo.zoo_entry` does, without what stands
in brackets behind them (``DeepSeekV3 (w/o MTP)``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..._foundation.errors import UnknownName
from ...frontends.source import load_graph
from ...frontends.zoo import zoo_entry
from ...graph.stats import parameters

_SIZES = ("layers", "hidden", "heads", "kv_heads", "ffn", "vocab")


def number(row: Mapping[str, Any], name: str) -> float | None:
    """A cell as a positive number; None for an empty cell or words."""
    try:
        value = float(row.get(name, ""))
    except (TypeError, ValueError):
        return None
    return value if 0 < value < 1e24 else None


def model_of(row: Mapping[str, Any]) -> str:
    """What to call the model: a bundled name, or a configuration as JSON.

    Raises:
        UnknownName: for a row that states no dimensions and whose name nobody knows.
    """
    about = str(row.get("architecture", ""))
    name = re.sub(r"\s*\(.*?\)|,.*", "", str(row.get("model", ""))).strip()
    sizes = {s: number(row, s) for s in _SIZES}
    plain = all(v is not None for v in sizes.values()) and number(row, "n_experts") is None
    if plain and not re.search(r"MoE|MLA|encoder|CNN", about):
        return configuration(
            {s: int(v) for s, v in sizes.items() if v is not None}, number(row, "head_dim"), row, about
        )
    if "CNN" in about:
        return re.sub(
            r"[^a-z0-9]", "", name.lower().partition(" ")[0]
        )  # ResNet-50 v1.5 is timm's and torchvision's resnet50
    for candidate in (name, name.lower().replace(" ", "-").replace("_", "-")):
        entry = zoo_entry(candidate)
        if entry is not None:
            return str(entry["id"])
    raise UnknownName("model", name, [])


def configuration(sizes: Mapping[str, int], head_dim: float | None, row: Mapping[str, Any], about: str) -> str:
    """A configuration in Hugging Face's words; equal dimensions make equal text.

    Whether the head has the embedding's weights no row says: the way whose count of parameters is nearer to the row's.
    """
    seq = int(number(row, "seq_len") or 2048)
    if "MPT" in about:
        made: dict[str, Any] = {
            "model_type": "mpt", "d_model": sizes["hidden"], "n_heads": sizes["heads"], "n_layers": sizes["layers"],
            "expansion_ratio": sizes["ffn"] // sizes["hidden"], "vocab_size": sizes["vocab"],
            "attn_config": {"alibi": False, "kv_n_heads": sizes["kv_heads"]},
        }  # fmt: skip
    elif "GELU" in about or "GPT" in about:
        made = {
            "model_type": "gpt2", "n_embd": sizes["hidden"], "n_head": sizes["heads"], "n_layer": sizes["layers"],
            "n_inner": sizes["ffn"], "vocab_size": sizes["vocab"], "n_positions": seq, "tie_word_embeddings": True,
        }  # fmt: skip
    else:
        made = {
            "model_type": "llama", "hidden_size": sizes["hidden"], "num_attention_heads": sizes["heads"],
            "num_key_value_heads": sizes["kv_heads"], "num_hidden_layers": sizes["layers"],
            "intermediate_size": sizes["ffn"], "vocab_size": sizes["vocab"], "tie_word_embeddings": False,
        }  # fmt: skip
        if head_dim is not None:
            made["head_dim"] = int(head_dim)
    stated = number(row, "params")
    if stated is not None and "tie_word_embeddings" in made:
        other = {**made, "tie_word_embeddings": not made["tie_word_embeddings"]}
        made = min(made, other, key=lambda c: abs(_parameters(_text(c)) - stated))
    return _text(made)


def _text(made: Mapping[str, Any]) -> str:
    return json.dumps(made, sort_keys=True)


@lru_cache(maxsize=256)
def _parameters(source: str) -> int:
    return parameters(load_graph(source, (), "bf16"))
