"""Techniques on a load: what an edit must touch to be seen by a simulated deployment, and the refusal of what is not.

A simulation reads the model with its formats and rewrites, the machine and its operating point, tensor, expert and pipeline degrees, the
stack with what is put into it, and how the engines serve. What one call does — its batch, its lengths, drafts verified in a step,
further programs beside the model — comes from the load instead, and messages travel as the engine's layout has them. An edit of
those would change nothing, so it is refused and says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ..scenario.scenario import Scenario
from .technique import Refusal

# Fields of a workload that a load states instead, or that a simulation has no step for: why, and what to do instead.
OF_A_CALL = {
    "batch": (
        "it sets the sequences of a call, and a load brings its own",
        "--max-seqs bounds what an engine runs at once",
    ),
    "isl": ("it changes a call's prompt, and a load brings its own", "--isl"),
    "osl": ("it changes a call's output, and a load brings its own", "--osl"),
    "context": ("it changes a call's context, and a load's grows by itself", "--isl and --osl"),
    "groups": ("it states a step's sequences, and the scheduler makes up steps", "ask `explain` about one step"),
    "new": ("it verifies drafts in a step", "--drafted K --acceptance A, the draft's own time left out"),
    "outputs": ("it drafts tokens", "--drafted K --acceptance A, the draft's own time left out"),
    "reused": ("it states a prefix hit", "--prefix TOKENS:GROUPS, whose hits the cache decides"),
    "symbols": ("it changes sizes of a captured module", "ask `explain`"),
    "training": ("it changes a training step", "ask `explain --phase train`"),
}
OF_A_LAYOUT = {
    "wires": ("it changes how messages travel, and a simulated engine's go as its layout has them", "ask `explain`"),
    "cp": ("it divides sequences over devices", "--tp, --pp or --attention-dp"),
    "dp": ("it makes replicas", "--replicas"),
    "zero": ("it shards training states", "ask `explain --phase train`"),
    "shard": ("it shards training states", "ask `explain --phase train`"),
    "near": ("it shards training states", "ask `explain --phase train`"),
    "sp": ("it divides tokens between tensor-parallel ranks", "ask `explain`"),
    "etp": ("it divides an expert's width", "--ep, which leaves the rest of the ranks to it"),
    "context": ("it divides sequences over devices", "--tp, --pp or --attention-dp"),
}  # fmt: skip
READ_LAYOUT = ("tp", "ep", "pp", "first", "last", "stages")
READ_WORKLOAD = ("moe_load", "places", "phase")  # places are refused by the engine, with a reason of its own
READ_PROGRAM = ("model", "stack", "software", "name")


def unheard(before: Scenario, after: Scenario) -> Refusal | None:
    """Why a load would not see what techniques did to a question; None where it would see all of it."""
    return next(_unheard(before, after), None)


def _unheard(before: Scenario, after: Scenario) -> Iterator[Refusal]:
    if len(after.programs) != len(before.programs) or after.edges != before.edges:
        yield Refusal("it runs further programs beside the model, and a simulated engine serves one", "ask `explain`")
        return
    old, new = before.program, after.program
    for name in _changed(old.workload, new.workload):
        if name not in READ_WORKLOAD:
            yield Refusal(*OF_A_CALL[name])
    for name in _changed(old.parallel, new.parallel):
        if name not in READ_LAYOUT:
            yield Refusal(*OF_A_LAYOUT[name])
    for name in _changed(old, new):
        if name not in (*READ_PROGRAM, "workload", "parallel"):
            yield Refusal(f"it changes a program's {name}, and a simulated engine serves one program", "ask `explain`")
    if after.schedule != before.schedule:
        yield Refusal("it changes the order of a step's kernels", "ask `explain`")


def _changed(before: object, after: object) -> list[str]:
    assert dataclasses.is_dataclass(before)
    return [f.name for f in dataclasses.fields(before) if repr(getattr(before, f.name)) != repr(getattr(after, f.name))]
