"""Goes through a graph node by node: sizes, numbers, memory, and what each node computes.

One pass, in the file's order. Nothing is executed: an operator's rule says what comes out and what that costs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import numpy_helper

from ..._foundation.errors import BadFile
from ..._foundation.expr import Expr
from ...graph.builder import BlockBuilder
from ..torch_export.calls import Facts, Touch, View
from ..torch_export.recorded import Logical, Recorded, Use
from . import control, quantized
from .held import LEARNED_BY, Held, Home, Memory, class_of, is_number
from .node import Node
from .paths import path_of
from .reading import STANDARD, Model
from .rules import COMPUTED, RULES
from .sizes import FREE, Poly, Size, product, to_expr
from .types import format_of
from .values import MOST, Unsized, fold
from .wire import MAX_DEPTH, MAX_NODES, SIZE_MARK

MAX_STEPS = MAX_NODES + 5000  # nodes walked, with functions and inner graphs spelled out


@dataclass
class Frame:
    """A graph or function body being walked.

    Attributes:
        names: tensors by name; those of the graphs around it are seen through ``outer``.
        readers: nodes that read a name; a graph's result has one reader more.
        attributes: what the call of a function gave.
        repeat: how often the body runs.
        path: module path of the call or loop it is the body of.
    """

    names: dict[str, Held] = field(default_factory=dict)
    outer: Frame | None = None
    readers: dict[str, list[Any]] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    repeat: int = 1
    depth: int = 0
    path: str | None = None

    def get(self, name: str) -> Held | None:
        frame: Frame | None = self
        while frame is not None:
            if name in frame.names:
                return frame.names[name]
            frame = frame.outer
        return None

    def set(self, name: str, held: Held) -> None:
        if name in self.names:
            raise BadFile(f"two nodes make {name[:80]!r}", expected="each name made once")
        self.names[name] = held

    def sole_reader(self, name: str) -> Any:
        """The one node that reads a result, if only one does and it is no result of the graph."""
        found = self.readers.get(name, ())
        return found[0] if len(found) == 1 else None


@dataclass
class Walk:
    """State of one pass.

    Attributes:
        batch: the batch at which sizes are shown where numbers are needed.
        logicals: the tensors.
        ops: what was recorded, and the module path each node states (None: none).
        unknown: operators without a rule, or without known sizes.
        notes: what had to be assumed, as what → value.
        fused: QuantizeLinear nodes, by frame and result, whose work the kernel before them does.
    """

    model: Model
    batch: int
    symbol: str | None = None
    logicals: Memory = field(default_factory=Memory)
    ops: list[Recorded] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)
    unknown: dict[str, None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    fused: set[tuple[int, str]] = field(default_factory=set)
    outputs: list[int] = field(default_factory=list)
    steps: int = 0

    # graphs --------------------------------------------------------------------------------------------------------

    def load(self, graph: Any, frame: Frame, nodes: Sequence[Any]) -> None:
        """Initialisers and readers of a graph, whose nodes are listed once so that they stay the same objects."""
        for tensor in graph.initializer:
            if tensor.name not in frame.names:
                frame.names[tensor.name] = self.stored(tensor, tensor.name)
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            held = self.stored(sparse.values, name)
            frame.names[name] = dataclasses.replace(held, shape=tuple(sparse.dims), proto=None)
        self.index_readers(nodes, [o.name for o in graph.output], frame)

    def index_readers(self, nodes: Any, results: Any, frame: Frame) -> None:
        for node in nodes:
            for name in node.input:
                frame.readers.setdefault(name, []).append(node)
            for attribute in node.attribute:
                for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                    for name in control.captured(inner):
                        frame.readers.setdefault(name, []).extend((node, node))
        for name in results:
            frame.readers.setdefault(name, []).extend((None, None))

    def nodes(self, nodes: Sequence[Any], frame: Frame) -> None:
        for proto in nodes:
            self.step(proto, frame)

    def results(self, graph: Any, frame: Frame) -> None:
        """What the model returns."""
        for output in graph.output:
            held = frame.get(output.name)
            if held is None:
                raise BadFile(f"the graph returns {output.name[:80]!r}, which nothing in it makes")
            if held.stored is not None and held.home is None:
                self.dequantize(frame, held)
            if held.home is not None and held.shape is not None and not is_number(held.home):
                self.outputs.append(self.logicals.index(held.home))

    def step(self, proto: Any, frame: Frame) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise BadFile(f"the model spells out to more than {MAX_STEPS} nodes", expected="fewer function calls")
        inputs: list[Held | None] = []
        for name in proto.input:
            held = frame.get(name) if name else None
            if name and held is None:
                raise BadFile(
                    f"the node {proto.name[:80] or proto.op_type!r} reads {name[:80]!r}, which nothing before it makes",
                    expected="nodes in the order they depend on one another, without cycles",
                )
            inputs.append(held)
        node = Node(self, frame, proto, inputs)
        try:
            if not self._folded(node) and not control.special(node):
                self._compute(node)
        except Unsized as reason:
            self._unknown(node, str(reason))
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, AssertionError) as error:
            # A rule takes attributes and ranks to be what the operator's schema says; in a damaged file they are not.
            raise BadFile(
                f"{node.where} does not fit its operator: {type(error).__name__}: {str(error)[:120]}",
                expected="attributes and inputs as the operator's schema states them", hint="onnx.checker may say more",
            ) from error  # fmt: skip
        for name in proto.output:
            if name and name not in frame.names:
                frame.names[name] = Held(name, "fp32")

    def _folded(self, node: Node) -> bool:
        if node.domain not in STANDARD:
            return False
        found = fold(node)
        if found is None:
            return False
        for position, value in enumerate(found):
            if node.wants(position):
                name = node.proto.output[position]
                dtype = {"b": "bool", "f": "fp32"}.get(value.dtype.kind, "int64")
                if node.op in ("Cast", "ConstantOfShape"):
                    dtype = node.tensor_type("to", dtype)
                node.frame.set(name, Held(name, dtype, tuple(value.shape), value=value, constant=True))
        return True

    def _compute(self, node: Node) -> None:
        domain = "" if node.domain in STANDARD else node.domain
        rule = RULES.get((domain, node.op)) or RULES.get(("", node.op)) if domain in ("", "com.microsoft") else None
        if rule is None:
            raise Unsized(f"nothing is known of {node.op}")
        given = [h for h in node.inputs if h is not None]
        node.muted = bool(given) and all(h.constant for h in given) and node.op not in COMPUTED
        quantized.plan(node)
        rule(node)
        made = [n for n in node.proto.output if n in node.frame.names]
        if node.muted and any(isinstance(s, Poly) for n in made for s in node.frame.names[n].shape or ()):
            for name in made:  # constant numbers, but as many as the batch says: that is work of every run
                del node.frame.names[name]
            node.muted = False
            rule(node)

    def _unknown(self, node: Node, reason: str) -> None:
        """An op without a rule, or of unknown size: its bytes as far as they are known, and its name in the coverage."""
        label = f"{node.domain}::{node.op}" if node.domain else node.op
        unsized = ("", node.op) in RULES or (node.domain, node.op) in RULES
        self.unknown[f"{label} (size not known)" if unsized else label] = None
        self.notes.setdefault(f"not priced: {label}", reason)
        node.muted, node.stored, node.quantizes = False, frozenset(), None
        reads, writes = [], []
        for held in node.inputs:
            if held is not None and held.shape is not None and held.stored is None:
                reads.append(node.view_of(held))
        for position, name in enumerate(node.proto.output):
            declared = self.declared.get(name) if node.frame.depth == 0 else None
            if name and declared and name not in node.frame.names:
                writes.append(node.make(declared[1], declared[0], position))
            elif name in node.frame.names:
                held = node.frame.names[name]
                writes += [node.view_of(held)] if held.shape is not None else []
        if reads or writes:
            size = max((*reads, *writes), key=lambda v: math.prod(v.hints)).elements
            work = BlockBuilder.element_work("other", size)
            self.record(node, Facts("other", node.op, work, reads=tuple(reads), writes=tuple(writes), known=False))

    @property
    def declared(self) -> dict[str, tuple[str, tuple[Size, ...]]]:
        """Shapes that the file states for its intermediate results, where all of them are numbers or the batch."""
        if self._declared is None:
            self._declared = {}
            for info in (*self.model.proto.graph.value_info, *self.model.proto.graph.output):
                kind = info.type.tensor_type
                if not kind.HasField("shape") or not kind.elem_type:
                    continue
                sizes = [self._dim(d) for d in kind.shape.dim]
                known = tuple(s for s in sizes if s is not None)
                if len(known) == len(sizes):
                    self._declared[info.name] = (format_of(kind.elem_type, info.name[:80]), known)
        return self._declared

    _declared: dict[str, tuple[str, tuple[Size, ...]]] | None = None

    def _dim(self, dim: Any) -> Size | None:
        if dim.HasField("dim_value"):
            return int(dim.dim_value) if dim.dim_value >= 0 else None
        if dim.dim_param and dim.dim_param == self.symbol:
            return FREE
        return None

    # tensors -------------------------------------------------------------------------------------------------------

    def stored(self, tensor: Any, name: str) -> Held:
        """An initialiser, or a tensor that stands in an attribute."""
        dtype = format_of(tensor.data_type, f"the tensor {name[:80]!r}")
        shape = tuple(int(d) for d in tensor.dims)
        home = Home(name, product(shape), dtype, class_of(dtype, name, shape))
        return Held(name, dtype, shape, home, proto=tensor, constant=True)

    def value_of(self, held: Held, force: bool = False) -> np.ndarray | None:
        """The numbers of a small constant tensor, read when first asked for."""
        if held.value is None and held.proto is not None and held.shape is not None:
            tensor, held.proto = held.proto, None
            small = product(held.shape)
            # Sizes, axes and masks are whole numbers; of the others only single ones and the scales of a Resize matter.
            wanted = force or held.dtype in ("int64", "int32", "bool") or (isinstance(small, int) and small <= 8)
            readable = tensor.data_location == 0 and not tensor.doc_string.startswith(SIZE_MARK)
            if wanted and readable and isinstance(small, int) and small <= MOST and tensor.data_type not in (8, 14, 15):
                try:
                    found = np.asarray(numpy_helper.to_array(tensor))
                except Exception as error:  # whatever onnx makes of data that does not fit its type
                    raise BadFile(f"the tensor {held.name[:80]!r} cannot be read: {error}") from None
                kind = {"b": bool, "i": np.int64, "u": np.int64}.get(found.dtype.kind, np.float64)
                held.value = found.astype(kind)
        return held.value

    def fresh(self, elements: Expr, dtype: str) -> View:
        """A tensor between the parts of one op."""
        self.logicals.tensors.append(Logical(elements, None, dtype, "activation", True, written=True))
        return View(len(self.logicals.tensors) - 1, (elements,), (1,), dtype, elements)

    def dequantize(self, frame: Frame, held: Held) -> None:
        """Write the dequantised form of a tensor, for an op that cannot read the stored one."""
        if held.stored is None or held.shape is None:
            raise Unsized(f"the size of {held.name[:80]!r} is not known")
        home = Home(held.name, product(held.shape), held.dtype, "activation")
        if held.constant:
            home.cls = "weight"  # done when the model is loaded
        held.home = home
        if not held.constant:
            node = Node(self, frame, held.by, [held.stored])
            out = node.view_of(dataclasses.replace(held, stored=None))
            work = BlockBuilder.element_work("quantize", out.elements)
            self.record(node, Facts("quantize", "dequantize", work, reads=(node.view_of(held.stored),), writes=(out,)))

    # ops -----------------------------------------------------------------------------------------------------------

    def record(self, node: Node, facts: Facts) -> None:
        reads, writes = self._uses(list(facts.reads or ())), self._uses(list(facts.writes or ()))
        if facts.kind in LEARNED_BY:
            for use in reads:
                self.logicals.learned(use.tensor)
        if node.frame.repeat != 1:
            facts = dataclasses.replace(facts, attrs={**facts.attrs, "repeat": node.frame.repeat})
        weights = [
            self.logicals.tensors[u.tensor].name or "" for u in reads if self.logicals.tensors[u.tensor].cls == "weight"
        ]
        stated = path_of(node.proto, weights)
        self.ops.append(Recorded(stated or "", facts, tuple(reads), tuple(writes)))
        self.paths.append(node.frame.path if stated is None else stated)

    def _uses(self, views: list[View | Touch]) -> list[Use]:
        """Operands, each tensor once: different parts of one tensor add up, the same part is touched once."""
        parts: dict[int, dict[Any, Use]] = {}
        for item in views:
            touch = item if isinstance(item, Touch) else Touch(item)
            view = touch.view
            if view.tensor < 0 or self.logicals.tensors[view.tensor].size == 0:
                continue
            whole = touch.elements is None and not view.part
            elements = None if whole else touch.elements if touch.elements is not None else view.touched
            access, granule = touch.access, touch.granule
            use = Use(view.tensor, elements, access, granule, touch.reuse)
            parts.setdefault(view.tensor, {}).setdefault((view.part, elements), use)
        return [self._joined(tensor, list(found.values())) for tensor, found in parts.items()]

    def _joined(self, tensor: int, uses: list[Use]) -> Use:
        if len(uses) == 1:
            return uses[0]
        if any(u.elements is None for u in uses):
            return Use(tensor)
        elements: Expr = to_expr(0)
        for use in uses:
            elements = elements + (use.elements if use.elements is not None else to_expr(0))
        if elements == self.logicals.tensors[tensor].elements:
            return Use(tensor)
        return Use(tensor, elements, uses[0].access, uses[0].granule)


__all__ = ["MAX_DEPTH", "Frame", "Walk"]
