"""Refusals that many techniques share; each takes the subject and the settings and says why not, or None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._foundation.errors import SpeedlightError
from .._foundation.formats import number_format
from ..graph.rewrite.held import LEFT_ALONE
from ..scenario.scenario import Scenario
from .subject import Subject
from .technique import Refusal, Settings

Condition = Callable[[Subject, Settings], Refusal | None]


def every(*conditions: Condition) -> Condition:
    """All of them; the first that refuses speaks."""

    def refuse(subject: Subject, settings: Settings) -> Refusal | None:
        return next((r for c in conditions if (r := c(subject, settings)) is not None), None)

    return refuse


def _when(holds: Callable[[Subject], bool], why: str, instead: str = "") -> Condition:
    return lambda subject, settings: None if holds(subject) else Refusal(why, instead)


generates: Condition = _when(lambda s: s.generates, "the model does not generate tokens")
decoding: Condition = _when(
    lambda s: s.generates and s.decoding, "no token is generated in this phase", "ask with --phase decode or generate"
)
inference: Condition = _when(lambda s: s.phase != "train", "it is for inference, this is a training step")
with_load: Condition = _when(
    lambda s: s.scenario.serving is not None, "it is about a queue of requests, and this is a single step",
    "ask with a load: `speedlight simulate MODEL --on MACHINE --rate N --technique …`",
)  # fmt: skip
training: Condition = _when(lambda s: s.phase == "train", "it is for training", "ask with --phase train")
transformer: Condition = _when(lambda s: s.transformer, "the model is no transformer")
on_gpu: Condition = _when(lambda s: s.gpu, "its kernels exist for GPUs only")
replicated: Condition = _when(
    lambda s: s.phase == "train" and (s.sharded("dp") or s.sharded("cp")),
    "no gradients are exchanged", "ask with --phase train and --dp above 1",
)  # fmt: skip
piped: Condition = _when(
    lambda s: s.phase == "train" and s.sharded("pp"),
    "there is no pipeline of training",
    "ask with --phase train --pp above 1",
)
tensor_parallel: Condition = _when(lambda s: s.sharded("tp"), "no tensor parallelism to hide", "ask with --tp above 1")


def experts_apart(subject: Subject, settings: Settings) -> Refusal | None:
    """Experts lie on several ranks, so that tokens travel."""
    if not subject.has("moe"):
        return Refusal("the model has no experts")
    from ..placement.mesh import axes

    if "experts" in axes(subject.parallel):
        return None
    return Refusal("no tokens travel to experts", "ask with --ep above --tp (and --dp, in training)")


def runs(change: Callable[[Subject, Settings], Scenario]) -> Condition:
    """The engine lays the changed question out: degrees divide what they must, and the machine has so many devices."""

    def refuse(subject: Subject, settings: Settings) -> Refusal | None:
        from ..engine.questions.resolve import resolve
        from ..engine.training.layout import check_layout
        from ..placement.place import dims_of

        try:
            changed = change(subject, settings).replace(serving=None)  # a load is laid out as its engine's step is
            for stage in resolve(changed).chain:
                check_layout(stage.scenario.program, stage.graph)
                dims_of(stage.graph, stage.scenario.program.parallel)
        except SpeedlightError as error:
            return Refusal(error.message, error.hint or error.expected)
        return None

    return refuse


def phases(*names: str) -> Condition:
    return _when(lambda s: s.phase in names, f"it is about {' and '.join(names)}", f"ask with --phase {names[0]}")


def has(*kinds: str, what: str = "") -> Condition:
    """The graph has an op of one of these kinds."""
    return _when(lambda s: s.has(*kinds), f"the model has no {what or ' or '.join(kinds)}")


def multiplies(fmt: str) -> Condition:
    """The machine's matrix units multiply in a format of their own, without widening."""

    def refuse(subject: Subject, settings: Settings) -> Refusal | None:
        wanted = number_format(str(fmt.format(**settings))).compute
        engine = subject.machine.engine
        if any(p.unit == "matmul" and p.format == wanted for p in engine.peaks):
            return None
        have = sorted({p.format for p in engine.peaks if p.unit == "matmul"}) or ["none"]
        near = "int8" if wanted in ("fp8", "int4") and "int8" in have else have[0]
        return Refusal(
            f"{subject.machine.name} has no {wanted} matrix unit (it has {', '.join(have)})",
            f"weights alone in {fmt.format(**settings)} (--weights)" + (f", or {near}" if near != "none" else ""),
        )

    return refuse


def structured_sparsity(subject: Subject, settings: Any) -> Refusal | None:
    """The machine's matrix units skip two of four."""
    if any(p.sparse_flops is not None for p in subject.machine.engine.peaks):
        return None
    return Refusal(
        f"{subject.machine.name} states no structured-sparse rate", "an Ampere GPU or later; else weights in fewer bits"
    )


def weights_wider_than(bits: str) -> Condition:
    """The weights take more bits than the technique would leave; ``bits`` names a parameter or is a number."""

    def refuse(subject: Subject, settings: Settings) -> Refusal | None:
        wanted = float(settings[bits]) if bits in settings else float(bits)
        widths = [number_format(t.dtype).bits for t in _weights(subject)]
        if widths and max(widths) > wanted:
            return None
        return Refusal(f"the weights are in {max(widths, default=0):g} bits already")

    return refuse


def _weights(subject: Subject) -> list[Any]:
    """Matrices of the layers; recipes leave heads as they are."""
    found = []
    for block, op in subject.graph.ops():
        if op.kind in ("matmul", "moe") and op.name.rpartition(".")[2] not in LEFT_ALONE:
            found += [t for r in op.reads[:2] if (t := subject.graph.tensor(block, r.tensor)).cls == "weight"]
    return found
