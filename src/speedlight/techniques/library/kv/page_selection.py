"""Attention over the pages a query picks."""

from __future__ import annotations

from ...caches import cached, rewritten
from ...technique import Parameter, Technique, register

PAGES = register(Technique(
    name="kv-page-selection",
    title="Page-selected attention (Quest, sparse retrieval on the device)",
    family="kv",
    mechanism="every page's summary is looked at, the pages that score best are read: as much is kept, less is read; it pays where contexts are long",
    papers=("retrievalattention",),
    citation="Quest, arXiv 2406.10774; RetrievalAttention, arXiv 2409.10516",
    parameters=(
        Parameter("tokens", 2048, "tokens read of a layer and sequence", "token", low=1, trials=(512,)),
        Parameter("page", 16, "tokens of a page", "token", low=1, high=4096),
    ),
    edits=(rewritten("kv reads", "kv_read"),),
    refuse=cached,
))  # fmt: skip
