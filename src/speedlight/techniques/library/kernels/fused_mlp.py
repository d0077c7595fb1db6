"""Fully fused small networks: all layers in one kernel."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...edits import with_software
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register

WIDEST = 128  # features of a layer whose rows fit registers and shared memory beside its weights
LONGEST = 32  # ops of one chain
LAYERS = ("linear", "mm", "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "add", "mul", "elementwise")


def _chains(subject: Subject) -> list[list[str]]:
    """Runs of layers narrow enough, as they follow each other in a block."""
    found: list[list[str]] = []
    run: list[str] = []
    for block in subject.graph.blocks:
        for op in block.ops:
            width = op.dims.get("n")
            narrow = width is None or (width.constant is not None and width.constant <= WIDEST)
            if op.fn in LAYERS and narrow and len(run) < LONGEST:
                run.append(op.fn)
            else:
                found, run = [*found, run], []
        found, run = [*found, run], []
    return [r for r in found if sum(fn in ("linear", "mm") for fn in r) > 1]


def _fused(subject: Subject, settings: Settings) -> Scenario:
    rules = [{"name": "fused_mlp", "pattern": chain, "on_chip": True} for chain in _chains(subject)]
    return with_software(subject, {"fuse_all": False, "fuse": rules})


def _narrow(subject: Subject, settings: Settings) -> Refusal | None:
    if _chains(subject):
        return None
    return Refusal(f"no chain of layers of up to {WIDEST} features: wider ones do not stay on the chip")


FUSED_MLP = register(Technique(
    name="fused-mlp",
    title="Fully fused multi-layer perceptrons",
    family="kernels",
    mechanism="a block of rows goes through all layers in registers and shared memory: only the ends of the network touch memory",
    papers=("fully-fused-multi-layer-perceptrons-on-intel-data-center-gpu",),
    citation="Müller et al., Real-time neural radiance caching, 2021; Yuan et al., arXiv 2403.17607",
    edits=(Edit("stack", "stack.fuse", _fused),),
    refuse=_narrow,
    exact=True,
))  # fmt: skip
