"""Keys and values in host memory, of which a step wants the few that its query picks."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...caches import by_heads, cached, on_host
from ...conditions import Condition, _when, every
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register

beside_a_host: Condition = _when(
    lambda s: any(link.role == "host" for link in s.machine.links), "the machine has no host memory apart from its own",
    "kv-page-selection",
)  # fmt: skip
TOKENS = Parameter(
    "tokens", 2048, "tokens wanted of a layer and sequence; 0 for a share instead", "token", low=0, trials=(1024,)
)  # fmt: skip


def _picked(subject: Subject, settings: Settings) -> Scenario:
    return with_rewrite(
        subject, "kv_read", tokens=settings["tokens"], share=settings["share"], page=settings["page"],
        summary=settings["summary"], spread=False,
    )  # fmt: skip


RETRIEVAL = register(Technique(
    name="kv-retrieval-offload",
    title="Retrieval from a cache in host memory (RetrievalAttention, MagicPIG, SentenceKV, InfLLM)",
    family="kv",
    mechanism="the cache lies in host memory, summaries of it on the device; a step's picks are fetched over the link, or attended to by the host's processor",
    papers=(
        "retrievalattention", "magicpig", "sentencekv", "tailorkv", "breaking-the-boundaries-of-long-context-llm-inference",
    ),
    citation="RetrievalAttention, arXiv 2409.10516; MagicPIG, arXiv 2410.16179; SentenceKV, arXiv 2504.00970; TailorKV, arXiv 2505.19586",
    parameters=(
        TOKENS,
        Parameter("share", 1.0, "of the cached tokens where no number of tokens is given (0)", low=1e-4, high=1.0),
        Parameter("page", 16, "tokens of a page, chunk or sentence", "token", low=1, high=4096),
        Parameter("summary", 0.03, "bytes of the device's summaries over the cache's; 0 where the host looks", low=0.0, high=1.0),
        Parameter("way", "moved", "moved over the link, or computed on the host", choices=("moved", "computed"), trials=("computed",)),
    ),
    edits=(
        Edit("graph", "kv reads", _picked),
        Edit("workload", "places.kv", lambda subject, settings: on_host(subject, way=settings["way"])),
    ),
    refuse=every(cached, beside_a_host),
))  # fmt: skip


def _parts(subject: Subject, settings: Settings) -> tuple[float, float]:
    """Widths of low-rank keys and of values over those of both, on the device and on the host."""
    dims = {d.role: d.size for d in subject.graph.dims.values() if d.role in ("heads", "kv_heads")}
    widths = [op.dims["qk_dim"].constant for _, op in subject.graph.ops() if op.fn == "sdpa" and "qk_dim" in op.dims]
    width = dims.get("kv_heads", 1) * max((w for w in widths if w), default=64)
    return 0.5 * min(settings["rank"] / width, 1.0), 0.5


def _shadows(subject: Subject, settings: Settings) -> Scenario:
    """Chunks' mean keys are looked at, picked keys are rebuilt from their low rank: rank products for every one of theirs."""
    near, far = _parts(subject, settings)
    dims = {d.role: d.size for d in subject.graph.dims.values() if d.role in ("heads", "kv_heads")}
    rebuilt = settings["rank"] * dims.get("kv_heads", 1) / (2 * dims.get("heads", 1))
    read = with_rewrite(
        subject,
        "kv_read",
        tokens=settings["tokens"],
        page=settings["chunk"],
        summary=0.5 / settings["chunk"],
        spread=False,
    )
    return with_rewrite(Subject(read), "kv_width", kept=near + far, products=1.0 + rebuilt)


def _values_out(subject: Subject, settings: Settings) -> Scenario:
    near, far = _parts(subject, settings)
    return on_host(subject, share=far / (near + far))


SHADOW = register(Technique(
    name="shadow-kv",
    title="Low-rank keys on the device, values on the host (ShadowKV)",
    family="kv",
    mechanism="keys are kept on the device in low rank, values in host memory; chunks are picked by their mean keys, their keys rebuilt, only their values cross the link",
    papers=("shadowkv",),
    citation="ShadowKV, arXiv 2410.21465",
    parameters=(
        TOKENS,
        Parameter("rank", 160, "rank of a layer's keys", low=1),
        Parameter("chunk", 8, "tokens of a chunk", "token", low=1, high=4096),
    ),
    edits=(
        Edit("graph", "kv reads", _shadows),
        Edit("graph", "kv width", lambda subject, settings: subject.scenario),
        Edit("workload", "places.kv", _values_out),
    ),
    refuse=every(by_heads, beside_a_host),
))  # fmt: skip


def _copied(subject: Subject, settings: Settings) -> Scenario:
    """The low-bit copy is what is looked at: every token's, read whole."""
    copy = settings["bits"] / 16
    return with_rewrite(subject, "kv_read", tokens=settings["tokens"], page=1, summary=copy, spread=False)


SPECULATIVE = register(Technique(
    name="speculative-kv-prefetch",
    title="A low-bit copy on the device picks what to prefetch (SpeCache)",
    family="kv",
    mechanism="the whole cache lies in host memory, a copy of few bits on the device; what the copy attends to is fetched beside the step before",
    papers=("specache",),
    citation="SpeCache, arXiv 2503.16163",
    parameters=(
        Parameter("tokens", 64, "tokens fetched of a layer and sequence", "token", low=1, trials=(256,)),
        Parameter("bits", 1.6, "bits of a value in the copy, scales included", "bit", low=0.5, high=8.0,
                  source="SpeCache, abstract: compression by 10"),
    ),
    edits=(
        Edit("graph", "kv reads", _copied),
        Edit("workload", "places.kv", lambda subject, settings: on_host(subject)),
    ),
    refuse=every(by_heads, beside_a_host),
))  # fmt: skip
