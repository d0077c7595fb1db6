"""Rewrites: graph → graph, each small and named; the same when applied twice, except those that make another model (``REMODELS``).

::

    adapters.py         low-rank adapters that train beside frozen weights
    attention.py        fused attention written out as products and a softmax
    autocast.py         what a mixed-precision region casts, by lists of functions
    bit_serial.py       products of few bits from binary ones
    branches.py         parallel branches as one convolution, norms folded away
    captured_tokens.py  fewer tokens in the layers of a captured module
    conversions.py      conversions that the module's own code calls; settings of its library
    denoiser.py         a part of a denoising step, the rest from a cache
    depthwise.py        depthwise convolutions on fewer channels
    draft_heads.py      heads that guess further tokens
    edit.py             a block under way: ops kept, ops put before or after, fresh names
    expand.py           one call as the kernels a library makes of it: copies, layout changes, biases
    frozen.py           a model whose large weights do not train
    heads.py            a model without its head
    held.py             which read of an op is the matrix it multiplies by
    host_tables.py      reads of tables in the host's memory: their path, and rows kept on the device
    kv_content.py       what of a token the KV cache holds: heads, width, nothing
    kv_tokens.py        how many tokens of it are kept, read, seen
    layers.py           where shares of the layers are cut from the rest
    layouts.py          a whole graph's convolutions channels last
    linear_attention.py a state instead of keys and values
    loss.py             logits widened before the loss
    monarch.py          Fourier transforms as matrix products
    narrowed.py         fewer heads, neurons, channels; blocks of weights left out
    norms.py            batch norms folded into the weights before them
    numbers.py          number formats of products, of whole layers or of part of each
    overwritten.py      what a call in place overwrites although the backward pass reads it
    padding.py          experts of a fixed capacity
    patches.py          a network's first block, patch by patch
    prompt.py           layers that prompt tokens pass by
    registry.py         where rewrites are filed by name
    resized.py          other sizes in the place of symbols
    rotate.py           repeated layers cut where they meet, so that neighbours across layers are neighbours
    selected.py         neurons chosen by token
    shared_prefix.py    a prefix read once for all sequences
    sparse_attention.py attention to a part of the keys
    still_layers.py     some layers keep their weights while the others train
    stretch.py          ops between two places that symbols name, for all cuts of a network at once
    structured.py       layers of another kind in the place of a transformer's
    tenants.py          several fine-tunes of one model together
    thinned.py          weights in fewer bits than their values have
    tidy.py             results nobody reads, copies made twice
    tiled_loss.py       logits for some rows at a time
    tokens.py           fewer tokens in some layers
    uneven_experts.py   experts at the rows of the rank that has most
    without.py          layers, or halves of layers, left out
    walks.py            norms that give a channel to one block of threads
    words.py            another vocabulary

A stack's file says which of them it applies, in which order and with which parameters; nothing here knows a stack.

Laws: no FLOP of a product is lost or made; what was read from outside and handed on still is; folded counts are kept; a
graph without a match comes back as the same object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..._foundation.errors import BadInput
from ..grammar import check
from ..ir import Graph
from . import (  # noqa: F401  they register themselves
    adapters,
    attention,
    autocast,
    bit_serial,
    branches,
    conversions,
    denoiser,
    depthwise,
    draft_heads,
    expand,
    frozen,
    heads,
    host_tables,
    kv_content,
    kv_tokens,
    layers,
    layouts,
    linear_attention,
    loss,
    monarch,
    narrowed,
    norms,
    numbers,
    overwritten,
    padding,
    patches,
    prompt,
    rotate,
    selected,
    shared_prefix,
    sparse_attention,
    still_layers,
    stretch,
    structured,
    tenants,
    thinned,
    tidy,
    tiled_loss,
    tokens,
    uneven_experts,
    walks,
    without,
    words,
)  # fmt: skip
from .registry import REMODELS, REWRITES, Rewriter


def rewrite(
    graph: Graph, name: str, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), *, checked: bool = True
) -> Graph:
    """Apply one rewrite by name.

    Args:
        checked: hold the result to the grammar; who applies several in a row may do so at the end.

    Raises:
        UnknownName: no such rewrite. BadInput: a parameter it does not take.
    """
    rewriter = REWRITES.get(name)
    try:
        found = rewriter(graph, **dict(parameters))
    except (TypeError, ValueError, AttributeError) as error:
        if not parameters:
            raise  # nobody gave it anything wrong
        raise BadInput(f"the rewrite {name!r}: {error}", expected="parameters it takes") from error
    return check(found) if checked and found is not graph else found


__all__ = ["REMODELS", "REWRITES", "Rewriter", "rewrite"]
