"""GGUF files (llama.cpp's) → graphs, from the header alone; local, by HTTP range or from the hub.

::

    header.py    bytes → metadata and tensor table, with limits     types.py     ggml's types → our formats
    describe.py  metadata and tensors → an architecture             roles.py     our weights ← the file's tensors
    remote.py    hub ids and URLs → a source of bytes

Weights have exactly the formats and bytes the tensor table states (:mod:`..weight_files.exact`): layers with different
types become blocks of their own.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..._foundation.errors import BadFile, Unsupported
from ..._foundation.formats import number_format
from ...graph.grammar import check
from ...graph.ir import Graph
from ..formats import Formats
from ..hf.build import build_graph
from ..hf.config import MOST_LAYERS, Config
from ..weight_files.exact import layer_rules, with_stored
from ..weight_files.reading import Source
from ..weight_files.table import Stored, facts
from .describe import describe, layers_of
from .header import Header, read_header
from .roles import sources_of

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_MOST_PARTS = 512
# Bytes a file may hold that our graph has no operator for, before the description counts as wrong.
_MOST_REST = 0.02


def load_gguf(source: str, activations: str | None = None, kv: str | None = None) -> Graph:
    """The graph of a GGUF file.

    Args:
        source: a path, a URL, ``org/repo/file.gguf`` or ``org/repo:Q4_K_M`` on the hub; of a split file the first part.
        activations: format between ops; llama.cpp's kernels multiply in 16 bits (or narrower) on every device.
        kv: format of the KV cache; fp16 as llama.cpp keeps it by default.

    Raises:
        BadFile, BadInput: for files that cannot be read, with what is wrong and where.
        Unsupported: for architectures whose parts our graphs do not describe.
    """
    from .remote import open_source

    first = open_source(source)
    header = read_header(first)
    tensors, files = _all_parts(first, header)
    where = first.name
    kind = header.metadata.get("general.architecture")
    if not isinstance(kind, str) or not 0 < len(kind) < 64:
        raise BadFile(f"{where} names no architecture", expected="the metadata key general.architecture")
    fields = {k.removeprefix(f"{kind}."): v for k, v in header.metadata.items() if k.startswith(f"{kind}.")}
    meta = Config({**fields, "model_type": kind}, where)
    if header.metadata.get("general.type") in ("adapter", "imatrix"):
        raise Unsupported(
            f"{where} holds {'a LoRA adapter' if header.metadata['general.type'] == 'adapter' else 'statistics'}, no model",
            expected="a model's GGUF file", hint="explain the model the adapter belongs to",
        )  # fmt: skip
    drafts = meta.integer("nextn_predict_layers", default=0, least=0, most=64)
    count = max(meta.integer("block_count", most=MOST_LAYERS) - drafts, 0)
    layers, outer = layers_of({t.name: t for t in tensors}, count)
    arch = describe(meta, layers, outer, Path(where).stem)
    formats = Formats(
        number_format(activations or "fp16").name, kv=number_format(kv or "fp16").name, rules=layer_rules(layers, where)
    )
    graph = build_graph(arch, formats)
    placements = [layer.placement for layer in arch.layers]
    experts = meta.integer("expert_count", default=0, least=0, most=10**5)
    graph, rest = with_stored(
        graph, {t.name: t for t in tensors},
        lambda name, layer: sources_of(name, layer, layers, placements, experts), where,
    )  # fmt: skip
    _refuse_unread(rest, tensors, count, meta)
    said = [("activations and KV cache", f"{formats.dtype} and {formats.cache}: a GGUF file fixes weights only")]
    if drafts:
        said.append(("multi-token prediction", f"{drafts} layers are kept and not run"))
    attrs = {
        **graph.attrs, "assumptions": (*said, *graph.attrs["assumptions"]), "file": facts(tensors, files),
        "stack": "llama.cpp",
    }  # fmt: skip
    return check(graph.replace(attrs=attrs))


def _refuse_unread(rest: list[Stored], tensors: list[Stored], count: int, meta: Config) -> None:
    """Raise where more than a little of the file is of no operator: the description is then not the model's."""
    drafts = tuple(f"blk.{i}." for i in range(count, count + 65))
    unread = [t for t in rest if not t.name.startswith(drafts)]
    share = sum(t.bytes for t in unread) / max(sum(t.bytes for t in tensors), 1)
    if share > _MOST_REST:
        largest = max(unread, key=lambda t: t.bytes)
        raise Unsupported(
            f"{meta.where}: {share:.0%} of architecture {meta.model_type!r} is in tensors this version has no operator for, "
            f"such as {largest.name!r}",
            expected="a decoder, BERT or Mamba as llama.cpp names their parts",
            hint="give the model's config.json",
        )


def _all_parts(first: Source, header: Header) -> tuple[list[Stored], int]:
    """Tensors of all files of a split model, whose first part was given.

    Raises:
        BadFile: for a part that is missing or that repeats a tensor.
    """
    parts = header.metadata.get("split.count", 1)
    if isinstance(parts, bool) or not isinstance(parts, int) or not 0 <= parts <= _MOST_PARTS:
        raise BadFile(f"{first.name}: split.count is {parts!r}", expected=f"at most {_MOST_PARTS}")
    if parts <= 1:
        return list(header.tensors), 1
    match = _SPLIT.search(first.name)
    if match is None or int(match[1]) != 1 or int(match[2]) != parts:
        raise BadFile(
            f"{first.name} is one of {parts} parts", expected=f"the first one, …-00001-of-{parts:05d}.gguf"
        )  # fmt: skip
    from .remote import open_path

    tensors = {t.name: t for t in header.tensors}
    for number in range(2, parts + 1):
        name = f"{first.name[: match.start()]}-{number:05d}-of-{parts:05d}.gguf"
        source = open_path(name)
        for tensor in read_header(source).tensors:
            if tensor.name in tensors:
                raise BadFile(f"{name}: the tensor {tensor.name!r} is in an earlier part too", expected="each once")
            tensors[tensor.name] = tensor
    return list(tensors.values()), parts


__all__ = ["load_gguf"]
