"""Which keys a query sees: full, sliding window, chunks, or the few an indexer picks."""

from __future__ import annotations

from dataclasses import dataclass

from ...._foundation.expr import Expr, group_sum, minimum
from ....graph.builder import CACHED, COUNT, NEW, causal_pairs


@dataclass(frozen=True, slots=True)
class Mask:
    """Sizes of one sequence group's attention, per sequence.

    Attributes:
        pairs: unmasked query·key pairs.
        span: cached tokens that are read.
        kept: tokens that stay cached while the step runs.
        scattered: cached tokens are gathered one by one, not streamed.
    """

    pairs: Expr
    span: Expr
    kept: Expr
    scattered: bool = False

    @property
    def all_kept(self) -> Expr:
        return group_sum(COUNT * self.kept)

    @property
    def all_span(self) -> Expr:
        return group_sum(COUNT * self.span)


def mask_of(window: int | None = None, chunk: int | None = None, topk: int | None = None) -> Mask:
    """The causal mask of a layer.

    A window of w: query i sees the min(w, i) keys up to its own. Chunks of c (Llama 4): it sees those since the last
    multiple of c. Top-k: it sees k of all; the queries of one sequence together may touch every cached token, so reads
    are bounded by both new·k and the cache.
    """
    everything = CACHED + NEW
    if chunk is not None:
        pairs = _in_chunks(everything, chunk) - _in_chunks(CACHED, chunk)
        return Mask(pairs, CACHED % chunk, minimum(everything, chunk))
    if topk is not None:
        return Mask(causal_pairs(topk), minimum(CACHED, NEW * topk), everything, scattered=True)
    if window is not None:
        return Mask(causal_pairs(window), minimum(CACHED, window - 1), minimum(everything, window))
    return Mask(causal_pairs(), CACHED, everything)


def _in_chunks(length: Expr, chunk: int) -> Expr:
    """Σ over positions p < length of (p mod chunk + 1)."""
    rest = length % chunk
    return (length // chunk) * (chunk * (chunk + 1) / 2) + rest * (rest + 1) / 2
