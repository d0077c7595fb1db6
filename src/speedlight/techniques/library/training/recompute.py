"""Activations computed again in the backward pass instead of kept."""

from __future__ import annotations

from ...conditions import training
from ...edits import with_training
from ...technique import Edit, Parameter, Technique, register

RECOMPUTE = register(Technique(
    name="activation-checkpointing",
    title="Activation recomputation (checkpointing)",
    family="training",
    mechanism="layers keep their inputs, or all but attention's insides, and compute the rest again in the backward pass",
    citation="Chen et al., arXiv 1604.06174; selective: Korthikanti et al., arXiv 2205.05198 §5",
    parameters=(
        Parameter(
            "kind", "full", "what is computed again: whole layers, attention alone, or all but products",
            choices=("full", "selective", "operators"), trials=("selective", "operators"),
        ),
    ),
    edits=(Edit("workload", "recompute", lambda subject, settings: with_training(subject, recompute=settings["kind"])),),
    refuse=training,
    exact=True,
))  # fmt: skip
