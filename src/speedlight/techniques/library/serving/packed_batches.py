"""No computing on padding."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, phases, transformer
from ...edits import with_workload
from ...subject import Subject
from ...technique import Edit, Parameter, Settings, Technique, register


def _packed(subject: Subject, settings: Settings) -> Scenario:
    return with_workload(subject, isl=subject.workload.isl * settings["filled"])


PACKED_BATCHES = register(Technique(
    name="padding-removal",
    title="Removal of redundant padding (EnergonAI, effective transformers)",
    family="serving",
    mechanism="sequences of a batch are packed end to end, so that token-wise products see real tokens only and attention its own lengths",
    papers=("energonai", "uellm"),
    citation="EnergonAI, arXiv 2209.02341",
    parameters=(Parameter("filled", 0.6, "mean length over the padded length", low=0.05, high=1.0, neutral=1.0),),
    edits=(Edit("workload", "workload.length", _packed),),
    refuse=every(phases("prefill", "forward"), transformer),
    exact=True,
    whatif=False,
))  # fmt: skip
