"""Data tiering: rows that are wanted often lie on the device, the rest in the host's memory."""

from __future__ import annotations

from ...edits import with_rewrite
from ...technique import Edit, Parameter, Technique, register
from .zero_copy_features import in_host

FEATURE_TIERING = register(Technique(
    name="feature-tiering",
    title="Often used rows on the device (data tiering)",
    family="offload",
    mechanism="a predicted order of use puts the rows of most accesses into device memory: what crosses the link falls by the hit rate",
    papers=("graph-neural-network-training-with-data-tiering",),
    citation="Min et al., arXiv 2111.05894",
    parameters=(Parameter("hit", 0.87, "share of accesses that rows on the device serve", low=0.0, high=1.0, neutral=0.0,
                          trials=(0.95,), source="arXiv 2111.05894, abstract: traffic falls by 87 to 95 %"),),
    edits=(Edit("graph", "host.hits", lambda subject, settings: with_rewrite(subject, "host_hits", hit=settings["hit"])),),
    refuse=in_host,
    exact=True,
))  # fmt: skip
