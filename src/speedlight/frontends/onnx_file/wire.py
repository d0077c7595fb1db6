"""An ``.onnx`` file's protobuf bytes → the same message without its weights and remarks, before anything parses it.

A protobuf message is a list of fields (tag, payload), and a payload is skipped by its length, so one pass over the
nesting model › graph › node › attribute › tensor finds what is large without reading it: the file is memory-mapped, and
pages of weights are never touched. What is left is kilobytes a node and safe to hand to the ``onnx`` library.

Roads not taken: ``onnx.load(load_external_data=False)`` (holds weights inside the file in memory, up to 2 GB, twice);
counting nodes after parsing (a file of 10^6 nodes takes 3 GB as Python objects).

Source: protobuf.dev/programming-guides/encoding; field numbers of onnx.proto3 (ONNX IR version 13).
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path

from ..._foundation.errors import BadFile

MAX_FILE = 2**31 - 1  # a protobuf message cannot be larger; weights beyond it live in external data
MAX_NODES = 15_000  # as many are read in 5 s
MAX_TENSORS = 50_000
MAX_DEPTH = 12  # graphs inside graphs: If and Loop bodies
MAX_SKELETON = 48 * 2**20  # bytes left without weights, which the parser may expand about tenfold
SMALL = 512  # payloads up to this many bytes are copied without looking inside
KEPT_DATA = 16384  # bytes of tensor data that are kept: sizes and axes, never weights
SIZE_MARK = "data bytes left out: "  # doc_string of a tensor whose data was left out

# Which fields hold which message: {message: {field number: message inside}}.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 15: "sparse"},
    "function": {7: "node", 12: "value"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {},
    "tensor": {},
}
# Remarks nobody needs here: doc strings, training and quantisation notes, device configurations.
_REMARKS: dict[str, frozenset[int]] = {
    "model": frozenset({6, 14, 20, 26}), "graph": frozenset({10, 14, 16}), "function": frozenset({8, 14}),
    "node": frozenset({6, 10}), "attribute": frozenset({13}), "sparse": frozenset(), "value": frozenset({3, 4}),
    "tensor": frozenset({12, 16}),
}  # fmt: skip
_METADATA = 9  # of a node: exporters put whole stack traces there; only these keys say where the op stands
_KEYS = (b"name_scopes", b"namespace")
_DATA = frozenset({4, 5, 6, 7, 9, 10, 11})  # of a tensor: float_data … raw_data … uint64_data


class _Malformed(Exception):
    """Bytes that are no protobuf message."""


@dataclass
class _Scan:
    """One pass over a mapped file."""

    data: mmap.mmap
    nodes: int = 0
    tensors: int = 0
    kept: int = 0
    values: int = 0
    where: str = field(default="")


def skeleton(path: Path) -> bytes:
    """The model's message without tensor data over :data:`KEPT_DATA` bytes, doc strings and stack traces.

    A tensor that lost its data says in its ``doc_string`` how many bytes that were (:data:`SIZE_MARK`).

    Raises:
        BadFile: for a file that is missing, empty, no protobuf, truncated, or over one of this module's limits.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise BadFile(
                f"{path} has {size} bytes", expected=f"at most {MAX_FILE}: protobuf holds no larger message",
                hint="save it with its weights as external data",
            )  # fmt: skip
        if size == 0:
            raise BadFile(f"{path} is empty", expected="an ONNX model")
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            scan = _Scan(data)
            return b"".join(_message(scan, "model", 0, os.fstat(stream.fileno()).st_size, 0))
    except _Malformed as error:
        raise BadFile(f"{path} is no ONNX model, or cut short: {error}", expected="a protobuf ModelProto") from None
    except (OSError, ValueError) as error:
        raise BadFile(f"cannot read {path}: {error}", expected="an ONNX model") from None


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """(value, position after it)."""
    result = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
    raise _Malformed(f"a number at byte {at} does not end")


def _message(scan: _Scan, kind: str, start: int, end: int, depth: int) -> list[bytes]:
    """The message in [start, end) as pieces to join; neighbouring fields that stay as they are make one piece."""
    if kind == "tensor":
        return _tensor(scan, start, end)
    data, inside, remarks = scan.data, _INSIDE[kind], _REMARKS[kind]
    pieces: list[bytes] = []
    at = run = start
    while at < end:
        tag_at = at
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == 2:
            length, at = _varint(data, at, end)
            if at + length > end:
                raise _Malformed(f"a {kind} field at byte {tag_at} claims {length} bytes, {end - at} are left")
            child = inside.get(number)
            if child is not None:
                _count(scan, child, depth)
            drop = number in remarks or (kind == "node" and number == _METADATA and not _is_place(data, at, length))
            if drop or (child is not None and length > SMALL):
                _keep(scan, pieces, run, tag_at)
                if not drop:
                    assert child is not None
                    found = _message(scan, child, at, at + length, depth + (child == "graph"))
                    pieces += (_encoded(tag), _encoded(sum(map(len, found))), *found)
                run = at + length
            at += length
        else:
            at = _after_scalar(data, at, end, wire, number)
    _keep(scan, pieces, run, end)
    return pieces


def _after_scalar(data: mmap.mmap, at: int, end: int, wire: int, number: int) -> int:
    if number == 0:
        raise _Malformed(f"field number 0 at byte {at}")
    if wire == 0:
        return _varint(data, at, end)[1]
    if wire in (1, 5):
        after = at + (8 if wire == 1 else 4)
        if after <= end:
            return after
    raise _Malformed(f"a field of wire type {wire} at byte {at}")


def _keep(scan: _Scan, pieces: list[bytes], start: int, end: int) -> None:
    if end > start:
        scan.kept += end - start
        if scan.kept > MAX_SKELETON:
            raise BadFile(
                f"the model has more than {MAX_SKELETON} bytes besides its weights",
                expected=f"at most {MAX_SKELETON} bytes of nodes, names and attributes",
            )
        pieces.append(scan.data[start:end])


def _count(scan: _Scan, child: str, depth: int) -> None:
    if child == "node":
        scan.nodes += 1
        if scan.nodes > MAX_NODES:
            raise BadFile(f"the model has more than {MAX_NODES} nodes", expected=f"at most {MAX_NODES} nodes")
    elif child == "tensor":
        scan.tensors += 1
        if scan.tensors > MAX_TENSORS:
            raise BadFile(f"the model has more than {MAX_TENSORS} tensors", expected=f"at most {MAX_TENSORS}")
    elif child == "value":
        scan.values += 1
        if scan.values > 8 * MAX_NODES:
            raise BadFile(f"the model declares more than {8 * MAX_NODES} values", expected=f"at most {8 * MAX_NODES}")
    elif child == "graph" and depth >= MAX_DEPTH:
        raise BadFile(f"graphs are nested deeper than {MAX_DEPTH} levels", expected="a flatter model")


def _is_place(data: mmap.mmap, at: int, length: int) -> bool:
    """Whether a metadata entry says where in the module tree the op stands."""
    return any(key in data[at : at + min(length, 64)] for key in _KEYS)


def _tensor(scan: _Scan, start: int, end: int) -> list[bytes]:
    """A tensor without its data, where that is large: every field but the data, then the mark."""
    data = scan.data
    pieces: list[bytes] = []
    dropped = 0
    at = run = start
    while at < end:
        tag_at = at
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire != 2:
            at = _after_scalar(data, at, end, wire, number)
            continue
        length, at = _varint(data, at, end)
        if at + length > end:
            raise _Malformed(f"tensor data at byte {tag_at} claims {length} bytes, {end - at} are left")
        if number in _REMARKS["tensor"] or (number in _DATA and length > KEPT_DATA):
            _keep(scan, pieces, run, tag_at)
            dropped += length if number in _DATA else 0
            run = at + length
        at += length
    _keep(scan, pieces, run, end)
    if dropped:
        mark = f"{SIZE_MARK}{dropped}".encode()
        pieces += (_encoded(12 << 3 | 2), _encoded(len(mark)), mark)
    return pieces


def _encoded(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
