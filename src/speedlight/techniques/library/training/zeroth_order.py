"""Fine-tuning by forward passes alone."""

from __future__ import annotations

import dataclasses

from ....scenario.scenario import Scenario
from ...conditions import every, training, transformer
from ...edits import with_model
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _two_passes(subject: Subject, settings: Settings) -> Scenario:
    """Each sample goes forward twice, with weights pushed one way and the other; nothing goes back."""
    w = subject.workload
    micro = subject.training.micro_batch or w.batch
    forward = dataclasses.replace(w, phase="forward", batch=micro, training=type(w.training)())
    return subject.scenario.with_program(workload=forward, repeats=2 * w.batch / micro)


def _in_bits(subject: Subject, settings: Settings) -> Scenario:
    return subject.scenario if settings["weights"] == "same" else with_model(subject, weights=settings["weights"])


def _alone(subject: Subject, settings: Settings) -> Refusal | None:
    if any(subject.sharded(axis) for axis in ("dp", "pp", "cp")):
        return Refusal("the layout has replicas or stages", "ask about one device, or tensor parallelism")
    return None


ZEROTH = register(Technique(
    name="zeroth-order",
    title="Zeroth-order fine-tuning (MeZO), the still weights in few bits",
    family="training",
    mechanism="gradients are estimated from two forward passes: no activations are kept, no gradients, no optimizer states",
    papers=("zeroth-order-fine-tuning-of-llms-with-extreme-sparsity",),
    citation="MeZO, arXiv 2305.17333; sparse: arXiv 2406.02913",
    parameters=(Parameter("weights", "same", "format of the weights that stay as they are", choices=("same", "int4", "int8")),),
    edits=(Edit("workload", "passes", _two_passes), Edit("graph", "weights", _in_bits)),
    refuse=every(training, transformer, _alone),
))  # fmt: skip
