"""Weights in a few bits, widened to the activations' format on the way to the matrix unit."""

from __future__ import annotations

from ....graph.ir import Graph
from ....scenario.scenario import Scenario
from ...conditions import every, has, inference, weights_wider_than
from ...edits import with_model, with_rewrite
from ...subject import Subject
from ...technique import Edit, Parameter, Quote, Settings, Technique, register


def linear_layers(graph: Graph) -> str:
    """Patterns of a captured module's linear layers, its head too, convolutions not."""
    return ",".join(dict.fromkeys(op.name for _, op in graph.ops() if op.kind == "matmul" and op.fn == "linear"))


_FORMATS = {2: "int2", 3: "int3", 4: "int4", 8: "int8"}


def with_weights(subject: Subject, fmt: str, activations: str = "") -> Scenario:
    """The model with its linear layers' weights in a format, multiplied in another where one is named.

    A configuration is asked for them, so that experts and odd layers follow its own rules; a captured module, which comes in
    its own formats, is rewritten.
    """
    if subject.graph.attrs.get("kind") == "module":
        return with_rewrite(subject, "numbers", weights=fmt, activations=activations)
    return with_model(subject, weights=fmt, activations=activations or None)


def _few_bits(subject: Subject, settings: Settings) -> Scenario:
    if subject.graph.attrs.get("kind") == "module" and subject.stack.name == EAGER:
        # PyTorch's own calls have no such kernel: torchao widens the weights first, then calls the product as ever.
        return with_rewrite(
            subject, "packed_weights", bits=float(settings["bits"]), unpack=1.0, of=linear_layers(subject.graph)
        )
    return with_weights(subject, _FORMATS[settings["bits"]])


EAGER = "torch-eager"
WEIGHT_ONLY = register(Technique(
    name="weight-only-int",
    title="Weight-only integer quantisation (GPTQ, AWQ, RTN)",
    family="formats",
    mechanism="linear layers' weights are kept and read in 2 to 8 bits plus their groups' scales; products stay in the activations' format",
    citation="GPTQ, arXiv 2210.17323; AWQ, arXiv 2306.00978",
    parameters=(Parameter("bits", 4, "bits of a weight", "bit", choices=(2, 3, 4, 8), trials=(3, 8)),),
    edits=(Edit("graph", "weights", _few_bits),),
    refuse=every(inference, has("matmul", "moe", what="linear layers"), weights_wider_than("bits")),
    quality=(Quote("WikiText-2 perplexity of OPT-175B at 4 bits", "8.34 → 8.37", "GPTQ, arXiv 2210.17323, Table 4"),),
))  # fmt: skip
