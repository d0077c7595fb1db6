"""PIPO, Hermes: transfers run beside computing instead of before it, all parts of their path at once."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...placing import offloading, with_transfers
from ...subject import Subject
from ...technique import Edit, Settings, Technique, register


def _ahead(subject: Subject, settings: Settings) -> Scenario:
    return with_transfers(subject, ahead=True, piped=True, passes=1, copy=0, wait_s=0)


PIPELINED = register(Technique(
    name="pipelined-offload",
    title="Transfers pipelined with computing",
    family="offload",
    mechanism="the next layer's bytes come from disk, through host memory and over the link at once while a layer computes: sums "
    "become the largest of them",
    papers=("pipo", "hermes", "flexgen"),
    citation="PIPO, arXiv 2504.03664; Hermes, arXiv 2409.04249",
    edits=(Edit("stack", "stack.transfers", _ahead),),
    refuse=offloading,
    exact=True,
))  # fmt: skip
