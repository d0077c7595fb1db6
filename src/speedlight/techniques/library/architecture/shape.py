"""A model of another shape: a sub-network of it, another vocabulary, sizes that kernels like."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, inference
from ...edits import with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _part(subject: Subject, settings: Settings) -> Scenario:
    scenario = subject.scenario
    if settings["depth"] < 1:
        scenario = with_rewrite(subject, "keep_layers", share=settings["depth"])
    if settings["ffn"] < 1 or settings["heads"] < 1:
        scenario = with_rewrite(Subject(scenario), "narrowed", ffn=settings["ffn"], heads=settings["heads"])
    return scenario


def _divides(subject: Subject, settings: Settings) -> Refusal | None:
    if any(d.role in ("heads", "ffn") for d in subject.graph.dims.values()):
        return None
    return Refusal(
        "its graph names no heads and no neurons", "a transformer by its configuration; width-scaling for image models"
    )


SUB_NETWORK = register(Technique(
    name="sub-network",
    title="A sub-network of a trained one (once-for-all, structural pruning by search, APQ)",
    family="architecture",
    mechanism="fewer layers, heads and neurons are kept, chosen for the device by a search: parameters, FLOPs and cache shrink with them",
    papers=("once-for-all", "structural-pruning-of-pre-trained-language-models-via-neural", "apq", "scale-efficiently"),
    citation="Once-for-all, arXiv 1908.09791; structural pruning via NAS, arXiv 2405.02267",
    parameters=(
        Parameter("depth", 0.75, "share of the layers", low=0.05, high=1.0, neutral=1.0),
        Parameter("ffn", 0.75, "share of the neurons of feed-forward layers", low=0.05, high=1.0, neutral=1.0),
        Parameter("heads", 1.0, "share of the heads, whole groups of them", low=0.05, high=1.0, neutral=1.0),
    ),
    edits=(Edit("graph", "depth", _part),),
    refuse=every(inference, _divides),
))  # fmt: skip


def _speaks(subject: Subject, settings: Settings) -> Refusal | None:
    if any(d.role == "vocab" for d in subject.graph.dims.values()):
        return None
    return Refusal("the model has no vocabulary")


VOCABULARY = register(Technique(
    name="vocabulary-size",
    title="Another vocabulary (larger models deserve larger ones)",
    family="architecture",
    mechanism="tables, logits and head products grow with the number of words; a larger vocabulary says the same text in fewer tokens, which is left to the question",
    papers=("scaling-laws-with-vocabulary",),
    citation="Scaling laws with vocabulary, arXiv 2407.13623",
    parameters=(Parameter("size", 216_000, "words", "word", low=256, high=4_000_000, source="Scaling laws with vocabulary, abstract: Llama2-70B"),),
    edits=(Edit("graph", "vocabulary", lambda subject, settings: with_rewrite(subject, "vocabulary", size=settings["size"])),),
    refuse=_speaks,
    whatif=False,
))  # fmt: skip


def _uneven(subject: Subject, settings: Settings) -> Refusal | None:
    refusal = _speaks(subject, settings)
    sizes = [d.size for d in subject.graph.dims.values() if d.role == "vocab"]
    if refusal is not None or settings["multiple"] == 1 or any(size % settings["multiple"] for size in sizes):
        return refusal
    return Refusal(f"its vocabulary of {sizes[0]:,} fills whole tiles already")


ALIGNED = register(Technique(
    name="aligned-vocabulary",
    title="A vocabulary padded to whole tiles",
    family="architecture",
    mechanism="tables and head are padded so that their rows fill whole tiles and aligned loads of a matrix kernel",
    citation="The case for co-designing model architectures with hardware, arXiv 2401.14489",
    parameters=(Parameter("multiple", 128, "the vocabulary is padded to a multiple of it", "word", low=1, high=65_536, neutral=1),),
    edits=(Edit("graph", "vocabulary", lambda subject, settings: with_rewrite(subject, "vocabulary", multiple=settings["multiple"])),),
    refuse=_uneven,
    exact=True,
))  # fmt: skip


def _views(subject: Subject, settings: Settings) -> Scenario:
    views = sum(scale * scale for scale in range(1, settings["scales"] + 1))
    w = subject.workload
    if "batch" in w.symbols:
        return subject.scenario.with_workload(symbols={**w.symbols, "batch": w.symbols["batch"] * views})
    return subject.scenario.with_workload(batch=w.batch * views)


def _looks(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.image and subject.phase == "forward":
        return None
    return Refusal("it is about image encoders", "an image model such as vit-b-16, --phase forward")


VIEWS = register(Technique(
    name="multi-scale-views",
    title="A smaller vision model over several scales of an image (S²)",
    family="architecture",
    mechanism="each image is seen whole and in pieces of twice (three times …) its size, all by the same frozen model: parameters stay, tokens grow with the squares of the scales",
    papers=("when-do-we-not-need-larger-vision-models",),
    citation="When do we not need larger vision models?, arXiv 2403.13043",
    parameters=(Parameter("scales", 2, "scales, from the model's own size upwards", low=1, high=6, trials=(3,), neutral=1),),
    edits=(Edit("workload", "batch", _views),),
    refuse=every(inference, _looks),
    whatif=False,
))  # fmt: skip
