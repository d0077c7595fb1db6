"""Products in a narrower format than the weights: in training, and in calls of modules."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, multiplies, training
from ...edits import with_model
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _autocast(subject: Subject, settings: Settings) -> Scenario:
    return with_model(subject, autocast=settings["format"])


def _module(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.model.autocast is not None:
        return Refusal("it runs in mixed precision already")
    wide = any(w.format in ("fp32", "tf32") for _, op in subject.graph.ops() for w in op.work if w.unit == "matmul")
    return None if wide else Refusal("its products are in 16 bits already", "fp8-training")


def _trains(subject: Subject, settings: Settings) -> Refusal | None:
    """A training step, or any call of a captured module: configurations say in which format they are served."""
    return None if subject.graph.attrs.get("kind") == "module" else training(subject, settings)


MIXED = register(Technique(
    name="mixed-precision",
    title="Automatic mixed precision",
    family="training",
    mechanism="products run in 16 bits on matrix units, weights and reductions stay in fp32, casts are added where they meet",
    papers=("scaling-neural-machine-translation", "mixed-precision-training-of-convolutional-neural-networks-us"),
    citation="Micikevicius et al., Mixed Precision Training, arXiv 1710.03740",
    parameters=(Parameter("format", "fp16", "the narrow format", choices=("fp16", "bf16"), trials=("bf16",)),),
    edits=(Edit("graph", "autocast", _autocast),),
    refuse=every(_trains, multiplies("{format}"), _module),
))  # fmt: skip


def _fp8(subject: Subject, settings: Settings) -> Scenario:
    # Products run in the widest of their operands' formats, so weights must come in 8 bits too; gradients and the optimizer's
    # master copies stay as wide as they are.
    return with_model(subject, weights="fp8", activations="fp8")


FP8 = register(Technique(
    name="fp8-training",
    title="FP8 training",
    family="training",
    mechanism="linear layers read 8-bit copies of their weights, quantise their inputs and multiply in 8 bits; gradients, master weights and states stay as they are",
    papers=("insights-into-deepseek-v3",),
    citation="Micikevicius et al., FP8 Formats for Deep Learning, arXiv 2209.05433",
    edits=(Edit("graph", "activations", _fp8),),
    refuse=every(training, multiplies("fp8"), lambda s, k: None if s.transformer else Refusal("the model is no transformer", "mixed-precision")),
))  # fmt: skip
