"""An ``.onnx`` file → graph: sizes, work and bytes from its structure; weights are never read, nothing is executed.

:func:`load_onnx` is the only door; importing this package imports no onnx.

::

    wire.py      the file's bytes without weights       reading.py   parsed and checked; opsets, external data
    axes.py      inputs and dynamic axes                sizes.py     numbers, or polynomials in the batch
    walk.py      node by node                           values.py    shape arithmetic, folded
    rules.py     operator → rule: elementwise.py, moving.py, windows.py, reducing.py, products.py, contrib.py
    quantized.py QDQ patterns as rewrites               control.py   If, Loop, Scan, functions, sequences
    paths.py     module paths from names

What an operator costs is said by the op table of captured PyTorch modules, so one model costs the same either way.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._foundation.errors import BadFile, BadInput, MissingDependency
from ..._foundation.expr import const
from ...graph.grammar import check
from ...graph.ir import Graph, Op

if TYPE_CHECKING:
    from .axes import Entries
    from .reading import Model
    from .walk import Walk


def load_onnx(path: str | Path, inputs: Sequence[str] = ()) -> Graph:
    """The graph of an ONNX file's forward pass.

    Args:
        path: the file; weights outside it (external data) need not be there.
        inputs: sizes of dynamic axes, see :mod:`.axes`.

    Returns:
        a checked graph. ``symbols["batch"]`` is the stated batch; ``attrs["static"]`` is ``("batch",)`` where the file
        holds at that batch only, else ``()``; ``attrs["unknown_ops"]`` names operators nobody knows.

    Raises:
        BadFile: for files that are no ONNX model, damaged, or over a limit of :mod:`.wire`.
        BadInput: for dynamic axes without a size.
        Unsupported: for opsets outside the range of :mod:`.reading`.
        MissingDependency: without onnx.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MissingDependency("onnx", "onnx", "reading an ONNX file") from None
    from .axes import entries
    from .reading import read
    from .sizes import Varies

    model = read(Path(path))
    found = entries(model, inputs)
    try:
        walk = _walked(model, found)
    except Varies:
        found = entries(model, inputs, fixed=True)
        try:
            walk = _walked(model, found)
        except Varies as reason:
            raise BadFile(f"{path}: {reason}", expected="sizes that follow from the inputs") from None
    except RecursionError:
        raise BadFile(f"{path} is nested too deeply", expected="a flatter model") from None
    if not walk.ops:
        raise BadInput(f"{path} computes nothing from its inputs", expected="a graph with operators")
    return _graph(model, found, walk)


def _walked(model: Model, found: Entries) -> Walk:
    from .held import Held, Home
    from .sizes import product
    from .walk import Frame, Walk

    walk = Walk(model, found.batch, found.symbol)
    frame = Frame()
    for entry in found.inputs:
        home = Home(entry.name, product(entry.shape), entry.dtype, "input")
        frame.names[entry.name] = Held(entry.name, entry.dtype, entry.shape, home)
        walk.logicals.index(home)
    graph = model.proto.graph
    nodes = list(graph.node)
    walk.load(graph, frame, nodes)
    walk.nodes(nodes, frame)
    walk.results(graph, frame)
    return walk


def _graph(model: Model, found: Entries, walk: Walk) -> Graph:
    from ..torch_export.assemble import assemble
    from ..torch_export.fold import fold
    from .paths import filled
    from .sizes import at

    paths = filled(walk.paths)
    walk.ops[:] = [dataclasses.replace(op, path=path) for op, path in zip(walk.ops, paths, strict=True)]
    inner = {p[:i] for p in set(paths) for i, c in enumerate(p) if c == "."}
    producer = " ".join(p for p in (model.proto.producer_name, model.proto.producer_version) if p)[:80]
    attrs: dict[str, Any] = {
        "family": "onnx", "kind": "module", "unknown_ops": tuple(walk.unknown), "capture": "onnx", "train": False,
        "assumptions": (*model.notes, *walk.notes.items()), "dtype": _dtype(walk), "opset": model.opset, "stack": "onnxruntime",
        "producer": producer, "static": () if found.free else ("batch",),
        "static_hint": "give --input with the batch you want" if found.symbol is not None
        else "the file fixes it: export the model again with a dynamic batch axis",
        "inputs": tuple((e.name, tuple(at(s, found.batch) for s in e.shape)) for e in found.inputs),
    }  # fmt: skip
    flat = assemble(model.path.stem, walk, walk.outputs, set(paths) - inner, {"batch": found.batch}, attrs)
    return check(_counted(fold(flat)))


def _dtype(walk: Walk) -> str:
    """The format most weights are in."""
    sizes: Counter[str] = Counter()
    for tensor in walk.logicals.tensors:
        if tensor.cls == "weight" and isinstance(tensor.size, int):
            sizes[tensor.dtype] += tensor.size
    return sizes.most_common(1)[0][0] if sizes else "fp32"


def _counted(graph: Graph) -> Graph:
    """Ops in loops get the count of their rounds, which folding had to see among their attributes."""
    return graph.replace(
        blocks=tuple(dataclasses.replace(b, ops=tuple(_repeated(op) for op in b.ops)) for b in graph.blocks)
    )


def _repeated(op: Op) -> Op:
    if "repeat" not in op.attrs:
        return op
    attrs = dict(op.attrs)
    return dataclasses.replace(op, count=const(attrs.pop("repeat")), attrs=attrs)


__all__ = ["load_onnx"]
