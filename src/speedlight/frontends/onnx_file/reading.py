"""A ``.onnx`` file → its checked message: opsets known, weights sized but never loaded, external data only looked up.

Imports onnx, which :func:`~speedlight.frontends.onnx_file.load_onnx` has found to be installed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import onnx

from ..._foundation.errors import BadFile, Unsupported
from .types import BITS, format_of
from .wire import MAX_DEPTH, MAX_NODES, SIZE_MARK, skeleton

OPSETS = (7, 24)  # of the standard domain, oldest and newest whose operators the table knows
STANDARD = ("", "ai.onnx")
MOST_ELEMENTS = 2**42
MOST_RANK = 32
_EXTERNAL = 1  # TensorProto.DataLocation


@dataclass(frozen=True)
class Model:
    """A checked file.

    Attributes:
        path: where it lies.
        proto: the ``ModelProto`` without large tensor data.
        opset: version of the standard domain.
        functions: local functions by (domain, name).
        notes: what had to be assumed, as (what, value).
    """

    path: Path
    proto: Any
    opset: int
    functions: dict[tuple[str, str], Any]
    notes: tuple[tuple[str, str], ...] = ()


def read(path: Path) -> Model:
    """Parse and check a file; no weights are read.

    Raises:
        BadFile: for what is no ONNX model, cut short, inconsistent with itself, or over the limits of :mod:`.wire`.
        Unsupported: for an opset of the standard domain outside :data:`OPSETS`.
    """
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(skeleton(path))
    except Exception as error:  # protobuf raises DecodeError, whose home differs by its implementation
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"{path} is no ONNX model: {error}", expected="a protobuf ModelProto") from None
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise BadFile(f"{path} holds no graph", expected="an ONNX model", hint="is it another kind of protobuf file?")
    opset = _opset(proto, path)
    functions = {(f.domain, f.name): f for f in proto.functions}
    _Calls(functions).count(proto.graph.node)
    notes = _check_tensors(proto, path)
    return Model(path, proto, opset, functions, notes)


def _opset(proto: Any, path: Path) -> int:
    versions = {o.domain: int(o.version) for o in proto.opset_import}
    version = next((versions[d] for d in STANDARD if d in versions), None)
    if version is None:
        if proto.functions or all(n.domain not in STANDARD for n in proto.graph.node):
            return OPSETS[1]  # no operator of the standard domain stands in the graph itself
        raise BadFile(f"{path} does not say which opset its operators are of", expected="an opset_import")
    if not OPSETS[0] <= version <= OPSETS[1]:
        raise Unsupported(
            f"{path} uses opset {version}", expected=f"opset {OPSETS[0]} to {OPSETS[1]}",
            hint="convert it with onnx.version_converter, or export it again",
        )  # fmt: skip
    return version


@dataclass
class _Calls:
    """How many nodes a graph is with its functions spelled out in place."""

    functions: dict[tuple[str, str], Any]
    known: dict[tuple[str, str], int] = field(default_factory=dict)

    def count(self, nodes: Any, depth: int = 0) -> int:
        """Nodes of a body, inner graphs and calls included; each function counted once.

        Raises:
            BadFile: where functions call themselves or one another too deeply, or where the sum is over the limit.
        """
        if depth > MAX_DEPTH:
            raise BadFile(f"graphs and functions are nested deeper than {MAX_DEPTH} levels", expected="a flatter model")
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in self.functions:
                if key not in self.known:
                    self.known[key] = self.count(self.functions[key].node, depth + 1)
                total += self.known[key]
            total += 1
            for attribute in node.attribute:
                for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                    total += self.count(inner.node, depth + 1)
        if total > MAX_NODES:
            raise BadFile(f"the model spells out to more than {MAX_NODES} nodes", expected="fewer nodes and calls")
        return total


def tensors_of(graph: Any, depth: int = 0) -> Iterator[Any]:
    """Every tensor stored in a graph: initialisers and attributes, those of inner graphs included.

    Raises:
        BadFile: where graphs are nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise BadFile(f"graphs are nested deeper than {MAX_DEPTH} levels", expected="a flatter model")
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from tensors_of(inner, depth + 1)


def _check_tensors(proto: Any, path: Path) -> tuple[tuple[str, str], ...]:
    sizes: dict[str, int | None] = {}
    for tensor in tensors_of(proto.graph):
        _check_shape(tensor)
        if tensor.data_location == _EXTERNAL:
            _check_external(tensor, path, sizes)
        else:
            _check_data(tensor)
    absent = sorted(name for name, size in sizes.items() if size is None)
    return (("weights", f"{', '.join(absent)} is not there: sizes as the model states them"),) if absent else ()


def elements(tensor: Any) -> int:
    return math.prod(tensor.dims)


def stored_bytes(tensor: Any) -> int:
    """Bytes the elements take, those under 8 bits packed."""
    return -(-elements(tensor) * BITS.get(tensor.data_type, 8) // 8)


def _check_shape(tensor: Any) -> None:
    if len(tensor.dims) > MOST_RANK or any(d < 0 for d in tensor.dims):
        raise BadFile(
            f"the tensor {tensor.name[:80]!r} has the shape {list(tensor.dims)[:8]}", expected="sizes of at least 0"
        )
    if elements(tensor) > MOST_ELEMENTS:
        raise BadFile(
            f"the tensor {tensor.name[:80]!r} claims {elements(tensor):.3g} elements",
            expected=f"at most {MOST_ELEMENTS:.3g}",
        )
    format_of(tensor.data_type, f"the tensor {tensor.name[:80]!r}")


# Elements that one stored number of a typed field holds where it is not one: 4-bit ones come two to a number.
_PACKED = {21: 2, 22: 2, 23: 2, 25: 4, 26: 4}
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def _check_data(tensor: Any) -> None:
    """What lies in the file itself must be as long as the shape says: a claim of gigabytes over a few bytes is refused."""
    wanted = elements(tensor)
    if tensor.doc_string.startswith(SIZE_MARK):
        length = int(tensor.doc_string[len(SIZE_MARK) :])
        # Typed fields store numbers in 1 to 10 bytes each; raw data is exact.
        least, most = wanted // _PACKED.get(tensor.data_type, 1), 10 * wanted + 16
        fits = tensor.data_type == 8 or length == stored_bytes(tensor) or least <= length <= most
        held = f"{length} bytes"
    elif tensor.HasField("raw_data"):
        fits = len(tensor.raw_data) == stored_bytes(tensor)
        held = f"{len(tensor.raw_data)} bytes"
    else:
        count = max(len(getattr(tensor, f)) for f in _TYPED)
        ratio = 2 if tensor.data_type in (14, 15) else 1
        fits = count in (wanted * ratio, -(-wanted // _PACKED.get(tensor.data_type, 1)))
        held = f"{count} numbers"
    if not fits:
        raise BadFile(
            f"the tensor {tensor.name[:80]!r} of shape {list(tensor.dims)[:8]} holds {held}",
            expected=f"{wanted} elements, {stored_bytes(tensor)} bytes", hint="the file is cut short or damaged",
        )  # fmt: skip


def _check_external(tensor: Any, path: Path, sizes: dict[str, int | None]) -> None:
    """The named file lies beside the model and is long enough, where it is there at all; it is not opened."""
    facts = {e.key: e.value for e in tensor.external_data}
    location = facts.get("location", "")
    _check_location(location, tensor.name)
    try:
        offset = int(facts.get("offset") or 0)
        length = int(facts.get("length") or stored_bytes(tensor))
    except ValueError:
        raise BadFile(f"the tensor {tensor.name[:80]!r} has external data at {facts}", expected="numbers") from None
    if offset < 0 or length != stored_bytes(tensor):
        raise BadFile(
            f"the tensor {tensor.name[:80]!r} states {length} bytes of external data at {offset}",
            expected=f"{stored_bytes(tensor)} bytes, as its shape and type say",
        )
    if location not in sizes:
        try:
            sizes[location] = (path.parent / location).stat().st_size
        except OSError:
            sizes[location] = None
    size = sizes[location]
    if size is not None and offset + length > size:
        raise BadFile(
            f"the external data file {location} has {size} bytes",
            expected=f"at least {offset + length}, which {tensor.name[:80]!r} needs", hint="it is cut short",
        )  # fmt: skip


def _check_location(location: str, name: str) -> None:
    parts = (PurePosixPath(location), PureWindowsPath(location))
    outside = any(p.is_absolute() or ".." in p.parts or p.anchor for p in parts)
    if not location or outside or "\0" in location or len(location) > 1024:
        raise BadFile(
            f"the tensor {name[:80]!r} points at the file {location[:80]!r}",
            expected="external data in the model's own folder",
        )
