"""Endor: pruned weights cross as their non-zero values and a bitmap of where they stand."""

from __future__ import annotations

from ...._foundation.formats import number_format
from ....scenario.scenario import Scenario
from ...placing import changed_places, offloading
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _packed(subject: Subject, settings: Settings) -> Scenario:
    bits = number_format(subject.model.weights or subject.model.dtype or "bf16").bits
    return changed_places(subject, packed=(1.0 - settings["sparsity"]) + 1.0 / bits)


BITMAP = register(Technique(
    name="bitmap-sparse-offload",
    title="Offloaded weights in a bitmap format (Endor)",
    family="offload",
    mechanism="of 16 bits 16·(1 − sparsity) and one of the bitmap lie outside and cross; the device unpacks them before use",
    papers=("endor",),
    citation="Endor, arXiv 2406.11674",
    parameters=(Parameter("sparsity", 0.5, "share of the weights that are zero", low=0.0, high=1.0, trials=(0.7,)),),
    edits=(Edit("workload", "places.packed", _packed),),
    refuse=offloading,
))  # fmt: skip
