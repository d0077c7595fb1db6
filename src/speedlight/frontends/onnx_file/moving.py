"""Operators that move, cut and join tensors. Reshaping is free; the rest are copies, as runtimes run them."""

from __future__ import annotations

import math
from typing import Any

from ..._foundation.errors import BadFile
from ..._foundation.expr import Expr, const
from ..torch_export.calls import Facts, Touch, View, size_of
from .held import broadcast
from .node import Node, Rule
from .sizes import Poly, Size, Varies, product, sign, to_expr
from .values import Unsized

_TRANSPOSING = frozenset({"MatMul", "FusedMatMul", "Einsum"})


def reshape(node: Node) -> None:
    before = node.shape(0)
    wanted = node.sizes(1) if node.has(1) else list(node.ints("shape"))
    keep_zero = bool(node.attr("allowzero", 0))
    shape: list[Size] = [before[i] if s == 0 and not keep_zero and i < len(before) else s for i, s in enumerate(wanted)]
    if shape.count(-1) > 1:
        raise BadFile(f"{node.where} leaves two sizes open", expected="at most one -1")
    if -1 in shape:
        known = product(s for s in shape if s != -1)
        shape[shape.index(-1)] = product(before) // known if known != 0 else 0
    if product(shape) != product(before):
        if isinstance(product(before), Poly) and not isinstance(product(shape), Poly):
            raise Varies(f"{node.where} fixes the batch")
        raise BadFile(f"{node.where} reshapes {product(before)} elements to {product(shape)}", expected="equally many")
    node.alias(shape)


def flatten(node: Node) -> None:
    shape = node.shape(0)
    axis = int(node.attr("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    node.alias((product(shape[:axis]), product(shape[axis:])))


def squeeze(node: Node) -> None:
    axes = node.axes(1)
    node.alias([s for i, s in enumerate(node.shape(0)) if (i not in axes if axes else s != 1)])


def unsqueeze(node: Node) -> None:
    axes = node.axes(1, extra=True)
    shape = node.shape(0)
    rest = iter(shape)
    node.alias([1 if i in axes else next(rest, 1) for i in range(len(shape) + len(axes))])


def transpose(node: Node) -> None:
    """A copy, unless only sizes of 1 change place, or the result is one side of a product, which takes it as it lies."""
    shape = node.shape(0)
    perm = node.ints("perm") or list(range(len(shape)))[::-1]
    if sorted(perm) != list(range(len(shape))):
        raise BadFile(f"{node.where} permutes {len(shape)} axes by {perm[:12]}", expected="each axis once")
    after = [shape[p] for p in perm]
    moved = [p for p in perm if shape[p] != 1]
    if moved == sorted(moved) or node.muted or _is_side(node, perm):
        node.alias(after)
        return
    x = node.view(0)
    out = node.make(after)
    run = size_of([to_expr(shape[p]) for p in perm[_fixed_from(perm) :]])
    read = Touch(x, None, "strided", run) if run != x.elements else Touch(x)
    node.emit(Facts("copy", "transpose", reads=(read,), writes=(out,)))


def _fixed_from(perm: list[int]) -> int:
    """The first axis from which on nothing is permuted."""
    first = len(perm)
    while first > 0 and perm[first - 1] == first - 1:
        first -= 1
    return first


def _is_side(node: Node, perm: list[int]) -> bool:
    """The last two axes swapped for the products that alone read the result."""
    swapped = [*range(len(perm) - 2), len(perm) - 1, len(perm) - 2]
    readers = node.frame.readers.get(node.proto.output[0], [])
    return perm == swapped and bool(readers) and all(r is not None and r.op_type in _TRANSPOSING for r in readers)


def concat(node: Node) -> None:
    shapes = [node.shape(i) for i in range(len(node.inputs)) if node.has(i)]
    axis = node.axis(len(shapes[0]))
    if any(len(s) != len(shapes[0]) for s in shapes):
        raise BadFile(f"{node.where} joins tensors of different ranks")
    total: Size = 0
    for shape in shapes:
        total = total + shape[axis]
    full = [s for s in shapes if product(s) != 0] or shapes
    merged = [*full[0][:axis], total, *full[0][axis + 1 :]]
    views = node.views()
    node.call("cat", {"tensors": views}, [node.make(merged)])


def split(node: Node) -> None:
    shape = node.shape(0)
    axis = node.axis(len(shape))
    sizes = node.split_sizes(shape[axis])
    if len(sizes) < len(node.proto.output):
        raise BadFile(f"{node.where} makes {len(node.proto.output)} parts of {len(sizes)} sizes")
    for index in range(len(node.proto.output)):
        if node.wants(index):
            _cut(node, [*shape[:axis], sizes[index], *shape[axis + 1 :]], axis, (axis, index), index)


def _cut(node: Node, after: list[Size], axis: int, part: tuple[Any, ...], index: int = 0) -> None:
    """Part of a tensor: of a constant it is looked at where it lies, of others it is copied."""
    if product(after) == product(node.shape(0)):
        node.alias(after, index)
    elif node.muted:
        node.part_of(after, part, index)
    else:
        x, out = node.view(0), node.make(after, index=index)
        run = size_of([to_expr(s) for s in after[axis:]])
        scattered = product(after[:axis]) != 1
        touch = Touch(x, out.elements, "strided" if scattered else "streamed", run if scattered else None)
        node.emit(Facts("copy", "slice", reads=(touch,), writes=(out,)))


def slice_(node: Node) -> None:
    shape = node.shape(0)
    after = list(shape)
    parts = []
    for axis, start, stop, step in node.slices():
        after[axis] = _length(after[axis], start, stop, step)
        parts.append((axis, start, stop, step))
    first = min((p[0] for p in parts), default=0)
    _cut(node, after, first, tuple(parts))


def _length(size: Size, start: Size, stop: Size, step: int) -> Size:
    """Elements a slice keeps of an axis; −1 counts from its end, beyond it is clamped."""
    lowest: Size = 0 if step > 0 else -1
    highest: Size = size if step > 0 else size - 1
    begin, end = (_clamped(v, size, lowest, highest) for v in (start, stop))
    span = end - begin if step > 0 else begin - end
    if sign(span) <= 0:
        return 0
    return span if abs(step) == 1 else (span + (abs(step) - 1)) // abs(step)


def _clamped(value: Size, size: Size, lowest: Size, highest: Size) -> Size:
    if not isinstance(value, Poly) and abs(value) >= 2**31 - 1:
        return highest if value > 0 else lowest
    if sign(value) < 0:
        value = value + size
    if sign(value - lowest) < 0:
        return lowest
    return highest if sign(value - highest) > 0 else value


def gather(node: Node) -> None:
    """Look-ups of whole rows are embeddings; a single index cuts a slice out."""
    shape, picked = node.shape(0), node.shape(1)
    axis = node.axis(len(shape))
    after = [*shape[:axis], *picked, *shape[axis + 1 :]]
    if product(picked) == 1:
        _cut(node, after, axis, (axis, node.held(1).name))
    elif node.muted:
        node.part_of(after, (axis, node.held(1).name))
    elif axis == 0 and len(shape) == 2 and node.held(0).constant:
        table, indices = node.view(0), node.view(1)
        node.call("embedding", {"weight": table, "indices": indices}, [node.make(after)])
    else:
        x, indices = node.view(0), node.view(1)
        node.call("index_select", {"self": x, "dim": axis, "index": indices}, [node.make(after)])


def gather_elements(node: Node) -> None:
    x, indices = node.view(0), node.view(1)
    node.call("gather", {"self": x, "index": indices}, [node.make(node.shape(1))])


def gather_nd(node: Node) -> None:
    shape, index = node.shape(0), node.shape(1)
    batch = int(node.attr("batch_dims", 0))
    depth = index[-1] if index else 1
    if isinstance(depth, Poly) or batch + depth > len(shape):
        raise BadFile(f"{node.where} picks along {depth} of {len(shape)} axes")
    after = [*index[:-1], *shape[batch + depth :]]
    x, indices = node.view(0), node.view(1)
    out = node.make(after)
    run = size_of([to_expr(s) for s in shape[batch + depth :]])
    node.emit(Facts("gather", "index", reads=(Touch(x, out.elements, "random", run), indices), writes=(out,)))


def scatter(node: Node) -> None:
    """ScatterElements, ScatterND, TensorScatter: the data is copied and the updates written into it."""
    updates = 2 if node.has(2) else 1
    reads = node.views()
    out = node.make(node.shape(0))
    size = reads[updates].elements if len(reads) > updates else out.elements
    run = to_expr(node.shape(updates)[-1]) if node.op != "ScatterElements" and node.rank(updates) else const(1)
    writes = (Touch(out, out.elements + size, "random", run),)
    node.emit(Facts("gather", "scatter", reads=tuple(reads), writes=writes))


def expand(node: Node) -> None:
    """Nothing moves for a reader that broadcasts, but runtimes write the expanded form."""
    shape = broadcast([node.shape(0), tuple(node.sizes(1))], node.where)
    if product(shape) == node.elements(0):
        node.alias(shape)
        return
    _repeated(node, shape, "expand")


def tile(node: Node) -> None:
    repeats = node.sizes(1)
    shape = [s * r for s, r in zip(node.shape(0), repeats, strict=True)]
    if product(shape) == node.elements(0):
        node.alias(shape)
        return
    _repeated(node, shape, "repeat")


def _repeated(node: Node, shape: Any, fn: str) -> None:
    x = node.view(0)
    node.emit(Facts("copy", fn, reads=(x,), writes=(node.make(shape),)))


def pad(node: Node) -> None:
    shape = node.shape(0)
    pads: list[Size] = list(node.ints("pads")) or list(node.ints("paddings"))
    if not pads:
        pads = node.sizes(1)
    axes = node.axes_of(3, len(shape)) if node.has(3) else list(range(len(shape)))
    count = len(pads) // 2
    after = list(shape)
    for place, axis in enumerate(axes):
        if place < count:
            after[axis] = after[axis] + pads[place] + pads[count + place]
    if after == list(shape):
        node.alias(after)
        return
    _repeated(node, after, "pad")


def resize(node: Node) -> None:
    """Resize and Upsample, by sizes or by scales."""
    shape = node.shape(0)
    after = _resized(node, shape)
    if after == list(shape):
        node.alias(after)
        return
    mode = {"nearest": "nearest", "cubic": "bicubic"}.get(str(node.attr("mode", "nearest")), "bilinear")
    x = node.view(0)
    rank = {"bilinear": "linear1d"}.get(mode, f"{mode}1d") if len(shape) == 3 else f"{mode}2d"
    if len(shape) > 4:
        rank = "trilinear3d" if mode == "bilinear" else "nearest3d"
    node.call(f"upsample_{rank}", {"self": x}, [node.make(after)])


def _resized(node: Node, shape: tuple[Size, ...]) -> list[Size]:
    axes = [a % len(shape) for a in node.ints("axes")] or list(range(len(shape)))
    after = list(shape)
    place = 1 if node.op == "Upsample" or node.opset < 11 else 2
    if node.op == "Resize" and node.has(3):
        for axis, size in zip(axes, node.sizes(3), strict=True):
            after[axis] = size
        return after
    scales = node.attr("scales") or (node.value(place).ravel().tolist() if node.has(place) else None)
    if not scales:
        raise Unsized(f"{node.where} states neither sizes nor scales")
    for axis, scale in zip(axes, scales, strict=True):
        size = after[axis]
        after[axis] = size if scale == 1 else size * int(scale) if scale == int(scale) else _scaled(size, scale)
    return after


def _scaled(size: Size, scale: float) -> Size:
    if isinstance(size, Poly):
        raise Varies(f"the batch is scaled by {scale}")
    return math.floor(size * scale + 1e-6)


def _blocks(fn: str, deeper: bool) -> Rule:
    def rule(node: Node) -> None:
        n, c, h, w = node.shape(0)
        block = int(node.attr("blocksize", 1))
        after = (
            [n, c * block * block, h // block, w // block]
            if deeper
            else [n, c // (block * block), h * block, w * block]
        )
        _repeated(node, after, fn)

    return rule


def one_hot(node: Node) -> None:
    depth = node.sizes(1)[0]
    shape = list(node.shape(0))
    axis = int(node.attr("axis", -1))
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, depth)
    indices = node.view(0)
    node.emit(Facts("elementwise", "one_hot", reads=(indices,), writes=(node.make(shape, node.dtype(2)),)))


def fill(node: Node) -> None:
    """ConstantOfShape, Range, EyeLike: written from nothing, once when loading unless the batch decides its size."""
    if node.op == "ConstantOfShape":
        shape: list[Size] = node.sizes(0)
        tensor = node.attr("value")
        dtype = node.walk.stored(tensor, "value").dtype if tensor is not None else "fp32"
    elif node.op == "Range":
        start, stop, step = (node.sizes(i)[0] for i in range(3))
        shape, dtype = [(stop - start + (step - 1)) // step], node.dtype(0)
    else:
        shape, dtype = list(node.shape(0)), node.tensor_type("dtype", node.dtype(0))
    node.muted = not any(isinstance(s, Poly) for s in shape)
    node.emit(Facts("elementwise", "fill", writes=(node.make(shape, dtype),)))


def triangle(node: Node) -> None:
    _repeated(node, node.shape(0), "triu" if node.attr("upper", 1) else "tril")


def reordered(node: Node) -> None:
    """ReverseSequence and other copies in the same shape."""
    _repeated(node, node.shape(0), "flip")


def col2im(node: Node) -> None:
    n, c = node.shape(0)[:2]
    image, block = node.sizes(1), node.sizes(2)
    _repeated(node, [n, c // product(block), *image], "fold")


def center_crop_pad(node: Node) -> None:
    after = list(node.shape(0))
    for axis, size in zip(node.axes(2) or range(len(after)), node.sizes(1), strict=False):
        after[axis] = size
    _repeated(node, after, "pad")


def at_most(node: Node) -> None:
    """NonZero, Compress, Unique, NonMaxSuppression: how many come out is known from data; all that could are assumed."""
    shape: list[Size]
    reads = node.views()
    if node.op == "NonZero":
        shape, dtype = [max(node.rank(0), 1), node.elements(0)], "int64"
    elif node.op == "NonMaxSuppression":
        boxes, scores = node.shape(0), node.shape(1)
        most = node.number(2, 0.0)
        each: Size = boxes[1] if not most else min(int(most), boxes[1]) if isinstance(boxes[1], int) else boxes[1]
        shape, dtype = [boxes[0] * scores[1] * each, 3], "int64"
    elif node.op == "Compress" and node.attr("axis") is not None:
        shape, dtype = list(node.shape(0)), node.dtype(0)
    else:
        shape, dtype = [node.elements(0)], node.dtype(0)
    outs = [node.make(shape, dtype)]
    outs += [node.make([node.elements(0)], "int64", i) for i in range(1, len(node.proto.output)) if node.wants(i)]
    kind = "sort" if node.op in ("Unique", "NonMaxSuppression") else "gather"
    fn = {"NonZero": "nonzero", "NonMaxSuppression": "nms", "Unique": "unique", "Compress": "masked_select"}[node.op]
    node.walk.notes.setdefault(f"results of {node.op}", "as many as could come out")
    node.emit(Facts(kind, fn, _work(node, reads), reads=tuple(reads), writes=tuple(outs)))


def _work(node: Node, reads: list[View]) -> Any:
    from ...graph.ir import Work

    size: Expr = reads[0].elements
    if node.op == "NonMaxSuppression":  # every kept box is compared with those after it: 14 operations a pair
        boxes = to_expr(node.shape(0)[1])
        size = size_of([to_expr(node.shape(0)[0]), to_expr(node.shape(1)[1])]) * boxes * boxes * 7
    return (Work("vector", size, "fp32"),)


MOVING: dict[tuple[str, str], Rule] = {("", name): rule for name, rule in {
    "Reshape": reshape, "Flatten": flatten, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose,
    "Concat": concat, "Split": split, "Slice": slice_, "Gather": gather, "GatherElements": gather_elements,
    "GatherND": gather_nd, "ScatterElements": scatter, "Scatter": scatter, "ScatterND": scatter, "TensorScatter": scatter,
    "Expand": expand, "Tile": tile, "Pad": pad, "Resize": resize, "Upsample": resize,
    "DepthToSpace": _blocks("pixel_shuffle", False), "SpaceToDepth": _blocks("pixel_unshuffle", True),
    "OneHot": one_hot, "ConstantOfShape": fill, "Range": fill, "EyeLike": fill, "Trilu": triangle,
    "ReverseSequence": reordered, "Col2Im": col2im, "CenterCropPad": center_crop_pad,
    "NonZero": at_most, "Compress": at_most, "Unique": at_most, "NonMaxSuppression": at_most,
}.items()}  # fmt: skip
