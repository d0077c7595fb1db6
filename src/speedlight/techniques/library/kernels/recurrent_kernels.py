"""Recurrent layers: all steps in one kernel, or call by call."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every
from ...edits import with_kernel
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register

CELLS = ("lstm", "gru", "vanilla")
SLOT = "stack.kernel:recurrent"


def _recurrent(subject: Subject, settings: Settings) -> Refusal | None:
    if any(op.fn in CELLS for _, op in subject.graph.ops()):
        return None
    return Refusal("the model has no recurrent layer")


def _stepwise(subject: Subject, settings: Settings) -> Scenario:
    # Each step's product reads the recurrent weights again (n·k of them beside m·n inputs); its gates are calls of their own.
    traffic = 1 + settings["calls"] / 4
    return with_kernel(subject, "|".join(CELLS), launches=f"steps * {settings['calls']}", traffic=traffic)


STEPWISE = register(Technique(
    name="stepwise-recurrence",
    title="Recurrent layers call by call",
    family="kernels",
    mechanism="every time step launches a product and its gates' element-wise calls: launches, not arithmetic, set the time",
    papers=(),
    citation="FlashRNN, arXiv 2412.07752, §1, its vanilla PyTorch baseline",
    parameters=(Parameter("calls", 12, "kernels of one time step", low=1, high=100),),
    edits=(Edit("stack", SLOT, _stepwise),),
    refuse=every(_recurrent),
    exact=True,
    whatif=False,
))  # fmt: skip

FUSED = register(Technique(
    name="fused-recurrence",
    title="Fused recurrent kernels (FlashRNN, persistent RNNs)",
    family="kernels",
    mechanism="one kernel runs all time steps with the recurrent weights in registers: no launch and no weight read a step",
    papers=("flashrnn",),
    citation="Pöppel et al., FlashRNN, arXiv 2412.07752; Diamos et al., Persistent RNNs, ICML 2016",
    edits=(Edit("stack", SLOT, lambda s, settings: with_kernel(s, "|".join(CELLS), launches=1, traffic=1)),),
    refuse=every(_recurrent),
    exact=True,
))  # fmt: skip
