"""A configuration file, a model folder or a bundled model → architecture, number formats and graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ..._foundation.expr import evaluate
from ...graph.ir import Graph
from ...graph.stats import kept, parameters, unsharded
from ..formats import Formats, override
from . import architecture, formats_of
from .arch import Arch
from .build import build_graph
from .config import Config, read_config
from .weights import WeightFacts, read_weights

# Share by which a quantised checkpoint's bytes may differ before the answer says so: scales differ a little by method.
_NEAR = 0.01


def load_hf(
    source: Path | Config | Mapping[str, Any],
    dtype: str | None = None,
    weights: str | None = None,
    activations: str | None = None,
    kv: str | None = None,
    mtp: int = 0,
    beside: Path | None = None,
) -> tuple[Arch, Formats, Graph]:
    """Everything about one model.

    A folder's safetensors headers, where there are any, say the true formats and sizes: ``graph.attrs["file"]`` then holds
    ``weight_bytes``, ``params`` (None for quantised files) and ``by_format``, and what contradicts ``config.json`` is an
    assumption. Formats asked for win over both.

    Args:
        source: a ``config.json`` or a folder with one, a configuration, or an entry of the zoo.
        dtype, weights, activations, kv: see :func:`~speedlight.frontends.formats.override`.
        mtp: draft passes of multi-token prediction, see :mod:`.multi_token`.
        beside: the weight file to read instead of those in the source's folder.

    Raises:
        BadInput, BadFile: naming the field or file that cannot be used.
    """
    facts: WeightFacts | None = None
    if isinstance(source, Config):
        config = source
    elif isinstance(source, Mapping):
        config = Config(source["config"], str(source.get("id", "zoo")))
    else:
        config = read_config(source)
        folder = source if source.is_dir() else source.parent
        facts = read_weights(beside or folder) if source.is_dir() or source.name == "config.json" else None
    stated = formats_of(config)
    notes: list[tuple[str, Any]] = []
    if facts is not None and not facts.quantised and facts.main_format != stated.dtype and stated.weights is None:
        said = config.stated("torch_dtype", "dtype") or config.text().stated("torch_dtype", "dtype")
        if said:
            notes.append(
                ("number format", f"{facts.main_format} as in the weight files; the configuration says {stated.dtype}")
            )
        stated = dataclasses.replace(stated, dtype=facts.main_format)
    formats = override(stated, dtype, weights, activations, kv)
    arch = architecture(config)
    graph = build_graph(arch, formats, mtp)
    if facts is None:
        return arch, formats, graph
    counted = parameters(graph)
    if not facts.quantised and facts.elements != counted:
        notes.append(
            ("parameters", f"{counted:,} by the configuration, {facts.elements:,} elements in the weight files")
        )
    asked = any((dtype, weights, activations, mtp))
    held = float(evaluate(kept(graph, "weight"), unsharded(graph)))
    if facts.quantised and not asked and abs(held / max(facts.bytes, 1) - 1) > _NEAR:
        notes.append(
            ("weight bytes", f"{held:,.0f} by the configuration's formats, {facts.bytes:,} in the weight files")
        )
    arch = replace(arch, assumptions=(*arch.assumptions, *notes))
    file = {
        "weight_bytes": facts.bytes, "params": None if facts.quantised else facts.elements,
        "by_format": dict(facts.by_format), "files": facts.files,
    }  # fmt: skip
    assumptions = (*graph.attrs["assumptions"], *notes)
    return arch, formats, graph.replace(attrs={**graph.attrs, "assumptions": assumptions, "file": file})
