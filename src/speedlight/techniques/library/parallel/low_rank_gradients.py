"""PowerSGD, and a rank for each layer (L-GreCo): gradients as products of two thin matrices."""

from __future__ import annotations

from ...._foundation.expr import evaluate
from ....graph.stats import unsharded as whole_dims
from ....scenario.scenario import Scenario
from ...conditions import every, has, replicated
from ...edits import with_wire
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register
from ._compressed import unsharded


def thin_share(subject: Subject, rank: float) -> float:
    """Elements of the two thin matrices over those of the gradients; vectors travel whole."""
    thin = full = 0.0
    env = {name: float(value) for name, value in whole_dims(subject.graph).items()}
    for block in subject.graph.blocks:
        times = float(evaluate(block.count, env))
        taken = {t.name: float(evaluate(t.elements, env)) for t in block.tensors.values() if t.cls == "weight"}
        sides = {
            op.reads[1].tensor: float(evaluate(op.dims["n"], env)) for op in block.ops if op.fn == "linear" and len(op.reads) > 1
        }  # fmt: skip
        for name, size in taken.items():
            full += times * size
            n = sides.get(name)
            thin += times * (size if n is None or not n else min(rank * (n + size / n), size))
    return thin / full if full else 1.0


def _factor(subject: Subject, settings: Settings) -> Scenario:
    share = thin_share(subject, settings["rank"]) / settings["saved"]
    # Two products of rank columns, an orthogonalisation of thin matrices, and the error: about six passes over the gradient.
    return with_wire(subject, "gradients", share=share, passes=6.0, kept=1.0)


LOW_RANK = register(Technique(
    name="low-rank-gradients",
    title="PowerSGD, with layer-wise ranks (L-GreCo)",
    family="parallel",
    mechanism="each matrix' gradient travels as two thin matrices of a few columns, which add up; ranks chosen layer by layer send fewer bytes at the same error",
    papers=("l-greco",),
    citation="Vogels et al., arXiv 1905.13727; L-GreCo, arXiv 2210.17357",
    parameters=(
        Parameter("rank", 4.0, "columns", low=1, trials=(32.0,)),
        Parameter("saved", 1.0, "bytes of one rank everywhere over those of chosen ranks", low=1.0),
    ),
    edits=(Edit("placement", "wire:gradients", _factor),),
    refuse=every(replicated, unsharded, has("matmul", what="linear layers")),
))  # fmt: skip
