"""Grouped keys and values turned into one latent vector a token."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...caches import by_heads
from ...conditions import every
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _sizes(subject: Subject) -> tuple[float, float, float]:
    """(heads, KV heads, head dimension) of the model's attention."""
    dims = {d.role: d.size for d in subject.graph.dims.values() if d.role in ("heads", "kv_heads")}
    widths = [op.dims["qk_dim"].constant for _, op in subject.graph.ops() if op.fn == "sdpa" and "qk_dim" in op.dims]
    return dims.get("heads", 1), dims.get("kv_heads", dims.get("heads", 1)), max((w for w in widths if w), default=64)


def _share(subject: Subject, settings: Settings) -> float:
    _, groups, width = _sizes(subject)
    return float((settings["rank"] + settings["rope"]) / (2 * groups * width))


def _narrower(subject: Subject, settings: Settings) -> Refusal | None:
    if _share(subject, settings) < 1:
        return None
    return Refusal("a token's keys and values are narrower than the latent already", "a smaller rank")


def _latent(subject: Subject, settings: Settings) -> Scenario:
    """Every query head attends to the whole latent: its width is what products are over."""
    _, _, width = _sizes(subject)
    wider = (2 * settings["rank"] + settings["rope"]) / (2 * width)
    return with_rewrite(subject, "kv_width", kept=_share(subject, settings), products=wider)


LATENT = register(Technique(
    name="mla-conversion",
    title="Grouped-query to latent attention (MHA2MLA, TransMLA)",
    family="kv",
    mechanism="one latent and a rotary key a token are kept and read; every head attends to all of the latent, so attention's FLOPs grow as bytes fall",
    citation="DeepSeek-V2, arXiv 2405.04434; TransMLA, arXiv 2502.07864; MHA2MLA, arXiv 2502.14837",
    parameters=(
        Parameter("rank", 512, "width of the latent", low=8, source="DeepSeek-V2, arXiv 2405.04434 §3.1.2"),
        Parameter("rope", 64, "width of the shared rotary key", low=0, source="DeepSeek-V2, arXiv 2405.04434 §3.1.2"),
    ),
    edits=(Edit("graph", "kv width", _latent),),
    refuse=every(by_heads, _narrower),
))  # fmt: skip
