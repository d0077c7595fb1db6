"""The question a technique is asked about, with what its names refer to; loaded when first looked at, then kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._foundation.arrays import Value
from ..engine.questions.resolve import Resolved, model_graph, resolve
from ..graph.ir import Graph, Op
from ..hardware.machine import Machine
from ..scenario.scenario import ModelRef, Parallel, Program, Scenario
from ..scenario.serving import Serving
from ..stacks.stack import Stack
from ..workload.workload import Training, Workload


@dataclass(frozen=True)
class Subject:
    """A scenario under edit.

    Attributes:
        scenario: as edited so far, its own techniques left out.
    """

    scenario: Scenario

    @property
    def program(self) -> Program:
        return self.scenario.program

    @property
    def workload(self) -> Workload:
        return self.program.workload

    @property
    def training(self) -> Training:
        return self.workload.training

    @property
    def parallel(self) -> Parallel:
        return self.program.parallel

    @property
    def model(self) -> ModelRef:
        return self.program.model

    @property
    def serving(self) -> Serving:
        """The load and its engines; a default one where the question is a single step."""
        return self.scenario.serving or Serving()

    @property
    def phase(self) -> str:
        return self.workload.phase

    @property
    def decoding(self) -> bool:
        """Tokens are generated one after the other."""
        return self.phase in ("decode", "generate")

    @cached_property
    def resolved(self) -> Resolved:
        return resolve(self.scenario.replace(serving=None))

    @cached_property
    def graph(self) -> Graph:
        """The model as it is referred to: before its stack writes it its own way."""
        return model_graph(self.program)

    @property
    def machine(self) -> Machine:
        return self.resolved.machine

    @property
    def stack(self) -> Stack:
        return self.resolved.stack

    @property
    def gpu(self) -> bool:
        return self.machine.kind == "gpu"

    @property
    def transformer(self) -> bool:
        return self.graph.attrs.get("kind") == "transformer"

    @property
    def generates(self) -> bool:
        """It is a decoder that generates tokens."""
        return bool(self.graph.attrs.get("generates")) and self.transformer

    @property
    def image(self) -> bool:
        """It works on pictures: a captured module or an image model."""
        return any(op.kind == "conv" for _, op in self.graph.ops()) or "pictures" in str(self.graph.attrs.get("items"))

    def has(self, *kinds: str, fn: str = "") -> bool:
        """The graph has an op of one of these kinds (or of a function)."""
        return any(self._is(op, kinds, fn) for _, op in self.graph.ops())

    @staticmethod
    def _is(op: Op, kinds: tuple[str, ...], fn: str) -> bool:
        return (not kinds or op.kind in kinds) and (not fn or op.fn == fn)

    @property
    def context(self) -> Value:
        """Cached tokens of a sequence half-way through the call."""
        w = self.workload
        if w.phase == "decode":
            return w.context
        return w.isl + w.osl / 2 if w.phase == "generate" else w.isl

    def sharded(self, axis: str) -> bool:
        """Some degree of a mesh axis is above 1."""
        return bool(np.any(np.asarray(getattr(self.parallel, axis)) > 1))
