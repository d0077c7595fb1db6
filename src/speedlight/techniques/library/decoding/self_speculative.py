"""The model drafts for itself: by fewer layers, in fewer bits, over fewer keys."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Rewrite, Scenario
from ...caches import by_heads, cached
from ...conditions import every
from ...speculation import SLOT, drafts, kept, speculates, with_drafts
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def _skipping(subject: Subject, settings: Settings) -> Scenario:
    k, own = settings["drafts"], subject.model
    half = dataclasses.replace(
        own, rewrites=(*own.rewrites, Rewrite("keep_layers", (("share", settings["layers"]),))), mtp=0
    )
    return with_drafts(subject, [(half, k)], k + 1, kept(settings["acceptance"], k), own=[True])


SKIPPING = register(Technique(
    name="self-speculative-decoding",
    title="Self-speculative decoding by skipped layers",
    family="decoding",
    mechanism="drafts run a share of the model's own layers, so they need no weights of their own; the whole model verifies",
    citation="Draft & Verify, arXiv 2309.08168; LayerSkip, arXiv 2404.16710",
    parameters=(
        Parameter("layers", 0.5, "share of the layers a draft runs", low=0.02, high=1.0, trials=(0.25,)),
        drafts(4, 2),
        Parameter("acceptance", 0.9, "share of drafts accepted where all before were", low=0.0, high=0.999),
    ),
    edits=(Edit("schedule", SLOT, _skipping),),
    refuse=every(speculates),
    exact=True,
))  # fmt: skip


def _quantized(subject: Subject, settings: Settings) -> Scenario:
    """The cache is two parts of 4 bits: drafts read the upper one, verification both (8 bits in all)."""
    k, own = settings["drafts"], subject.model
    narrow = dataclasses.replace(own, weights=settings["weights"], kv="int4", mtp=0)
    whole = dataclasses.replace(own, kv="int8")
    changed = Subject(subject.scenario.with_program(model=whole))
    return with_drafts(changed, [(narrow, k)], k + 1, kept(settings["acceptance"], k), own=[True])


QUANTIZED = register(Technique(
    name="quantized-self-speculation",
    title="Self-speculation over a hierarchical 4-bit cache (QuantSpec)",
    family="decoding",
    mechanism="drafts read a 4-bit copy of the weights and the upper 4 bits of the cache, verification the full weights and both halves: a draft moves a quarter of the bytes",
    papers=("quantspec",),
    citation="QuantSpec, arXiv 2502.10424",
    parameters=(
        Parameter("weights", "int4", "format of the drafts' weights", choices=("int4", "int8")),
        drafts(4, 2, 7),
        Parameter("acceptance", 0.9, "share of drafts accepted where all before were", low=0.0, high=0.999,
                  source="QuantSpec, abstract: above 90 %"),
    ),
    edits=(Edit("schedule", SLOT, _quantized), Edit("graph", "kv", lambda subject, settings: subject.scenario)),
    refuse=every(speculates, by_heads),
    quality=(Quote("acceptance rate, long contexts", "over 90 %", "QuantSpec, abstract"),),
))  # fmt: skip


def _retrieved(subject: Subject, settings: Settings) -> Scenario:
    """Drafts over a few retrieved pages, themselves drafted by a tiny model where one is named."""
    k, own = settings["drafts"], subject.model
    read = Rewrite("kv_read", (("page", 16), ("summary", 0.0), ("tokens", settings["tokens"])))
    middle = dataclasses.replace(own, rewrites=(*own.rewrites, read), mtp=0)
    outputs = kept(settings["acceptance"], k)
    inner = settings["inner"]
    if not inner:
        return with_drafts(subject, [(middle, k)], k + 1, outputs, own=[True])
    tiny = dataclasses.replace(
        own, rewrites=(*own.rewrites, Rewrite("keep_layers", (("share", settings["size"]),))), mtp=0
    )
    if settings["draft"]:
        tiny = dataclasses.replace(own, source=settings["draft"], rewrites=(), mtp=0, inputs=())
    # k middle tokens come out of k/E' verifications by the retrieved cache, each after `inner` steps of the tiny model.
    each = kept(settings["inner_acceptance"], inner)
    both = [(tiny, inner * k / each), (middle, k / each)]
    changed = with_drafts(subject, both, k + 1, outputs, own=[False, True])
    first, second, then = changed.programs
    second = dataclasses.replace(second, workload=dataclasses.replace(second.workload, new=inner + 1))
    return changed.replace(programs=(first, second, then))


RETRIEVED = register(Technique(
    name="hierarchical-speculation",
    title="Speculation over a retrieved part of the cache (TriForce, MagicDec)",
    family="decoding",
    mechanism="the model itself drafts over a small retrieved part of its cache, drafted for by a tiny model in turn: the whole cache is read once for several tokens",
    papers=("triforce",),
    citation="TriForce, arXiv 2404.11912; MagicDec, arXiv 2408.11049",
    parameters=(
        Parameter("tokens", 4096, "tokens of the cache that drafts read", "token", low=1,
                  source="TriForce, arXiv 2404.11912: a 4K retrieval cache"),
        drafts(6, 3),
        Parameter("acceptance", 0.9, "share of drafts accepted where all before were", low=0.0, high=0.999),
        Parameter("inner", 2, "tokens the tiny model drafts; 0 for none", "token", low=0, high=64),
        Parameter("inner_acceptance", 0.6, "share of those accepted by the retrieved cache", low=0.0, high=0.999),
        Parameter("size", 0.01, "layers of an unnamed tiny model over the model's", low=0.001, high=1.0),
        Parameter("draft", "", "the tiny model by name; a slice of the model's own layers where none is named"),
    ),
    edits=(Edit("schedule", SLOT, _retrieved),),
    refuse=every(speculates, cached),
    exact=True,
))  # fmt: skip
