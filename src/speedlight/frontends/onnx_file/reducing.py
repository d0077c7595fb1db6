"""Reductions, pooling, normalisation, sorting, scans and transforms."""

from __future__ import annotations

import math
from typing import Any

from ..._foundation.errors import BadFile
from ..._foundation.expr import const
from ...graph.builder import BlockBuilder
from ...graph.ir import Work
from ..torch_export.calls import Facts, Touch, View, size_of
from .node import Node, Rule
from .sizes import Poly, Size, at, product, to_expr
from .values import Unsized
from .windows import window

_REDUCTIONS = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax", "ReduceMin": "amin", "ReduceProd": "prod",
    "ReduceL1": "norm", "ReduceL2": "norm", "ReduceLogSum": "logsumexp", "ReduceLogSumExp": "logsumexp",
    "ReduceSumSquare": "norm",
}  # fmt: skip


def reduction(node: Node) -> None:
    axes = node.axes(1)
    shape = node.shape(0)
    if not axes:
        if node.attr("noop_with_empty_axes", 0):
            node.alias(shape)
            return
        axes = list(range(len(shape)))
    keep = bool(node.attr("keepdims", 1))
    after = [1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes]
    x = node.view(0)
    node.call(_REDUCTIONS[node.op], {"self": x, "dim": axes}, [node.make(after)], reducing=True)


def arg(node: Node) -> None:
    shape = list(node.shape(0))
    axis = node.axis(len(shape))
    shape[axis : axis + 1] = [1] if node.attr("keepdims", 1) else []
    x = node.view(0)
    node.call("argmax" if node.op == "ArgMax" else "argmin", {"self": x, "dim": axis}, [node.make(shape, "int64")])


def softmax(node: Node) -> None:
    """Until opset 12 everything from the axis on was one row."""
    shape = node.shape(0)
    axis = node.axis(len(shape), -1 if node.opset >= 13 else 1)
    x = node.view(0)
    out = node.make(shape)
    fn = "log_softmax" if node.op == "LogSoftmax" else "softmax"
    width = size_of([to_expr(s) for s in shape[axis:]]) if node.opset < 13 else to_expr(shape[axis] if shape else 1)
    dims = {"rows": x.elements / width, "width": width}
    node.emit(Facts("softmax", fn, BlockBuilder.element_work("softmax", x.elements), dims, reads=(x,), writes=(out,)))


def norm(node: Node) -> None:
    """LayerNormalization, RMSNormalization, LpNormalization …: rows of what lies behind the axis."""
    fn = _NORMS[node.op]
    shape = node.shape(0)
    axis = node.axis(len(shape), -1)
    reads = node.views()
    outs = [node.make(shape)]
    for index in (1, 2):
        if node.wants(index):
            outs.append(node.make([*shape[:axis], *[1] * (len(shape) - axis)], "fp32", index))
    inner = [shape[axis]] if node.op in ("LpNormalization", "MeanVarianceNormalization") else shape[axis:]
    rows = to_expr(product(shape) // product(inner)) if product(inner) != 0 else const(0)
    dims = {"rows": rows, "width": to_expr(product(inner))}
    work = BlockBuilder.element_work(fn, reads[0].elements)
    node.emit(Facts("norm", fn, work, dims, reads=tuple(reads), writes=tuple(outs)))


def batch_norm(node: Node) -> None:
    """Scale and shift a channel; running statistics are no parameters."""
    for index in (3, 4):
        home = node.held(index).home
        if home is not None and home.index is None:
            home.cls = "constant"
    shape = node.shape(0)
    reads = node.views()
    outs = [node.make(shape)]
    channels: Size = shape[1] if len(shape) > 1 else 1
    dims = {"rows": to_expr(product(shape) // channels if channels != 0 else 0), "width": to_expr(channels)}
    work = BlockBuilder.element_work("batch_norm", reads[0].elements)
    node.emit(Facts("norm", "batch_norm", work, dims, {"training": False}, tuple(reads), tuple(outs)))


def group_norm(node: Node) -> None:
    """InstanceNormalization and GroupNormalization: a row is a group of channels of one sample."""
    shape = node.shape(0)
    if len(shape) < 2:
        raise BadFile(f"{node.where} normalises a tensor of {len(shape)} axes", expected="at least 2")
    groups: Size = (
        shape[1] if node.op == "InstanceNormalization" else int(node.attr("num_groups", node.attr("groups", 1)))
    )
    rows = shape[0] * groups
    reads = node.views()
    outs = [node.make(shape)]
    dims = {"rows": to_expr(rows), "width": to_expr(product(shape) // rows)}
    work = BlockBuilder.element_work("group_norm", reads[0].elements)
    node.emit(Facts("norm", "group_norm", work, dims, reads=tuple(reads), writes=tuple(outs)))


def pool(node: Node) -> None:
    shape = node.shape(0)
    spatial, kernel = window(node, list(shape[2:]), node.ints("kernel_shape"))
    x = node.view(0)
    outs = [node.make([*shape[:2], *spatial])]
    if node.wants(1):
        outs.append(node.make([*shape[:2], *spatial], "int64", 1))
    rank = len(kernel)
    args = {
        "self": x, "kernel_size": kernel, "stride": node.ints("strides") or [1] * rank,
        "padding": (node.ints("pads") or [0] * rank)[:rank],
    }  # fmt: skip
    names = (
        ("max_pool1d", "max_pool2d", "max_pool3d_with_indices")
        if "Max" in node.op
        else ("avg_pool1d", "avg_pool2d", "avg_pool3d")
    )
    node.call(names[min(rank, 3) - 1], args, outs)


def global_pool(node: Node) -> None:
    shape = node.shape(0)
    x = node.view(0)
    out = node.make([*shape[:2], *[1] * (len(shape) - 2)])
    kind = "max" if "Max" in node.op else "avg"
    node.call(f"adaptive_{kind}_pool{3 if len(shape) > 4 else 2}d", {"self": x}, [out])


def unpool(node: Node) -> None:
    shape = node.shape(0)
    kernel, strides = node.ints("kernel_shape"), node.ints("strides")
    after: list[Size] = list(shape[:2])
    if node.has(2):
        after = node.sizes(2)
    else:
        for size, k, s in zip(shape[2:], kernel, strides or [1] * len(kernel), strict=True):
            after.append((size - 1) * s + k)
    reads = node.views()
    out = node.make(after)
    node.emit(Facts("gather", "scatter", reads=tuple(reads), writes=(Touch(out, None, "random", const(1)),)))


def roi(node: Node) -> None:
    """RoiAlign: a fixed grid of interpolated samples for each region."""
    shape, regions = node.shape(0), node.shape(1)
    after = [regions[0], shape[1], int(node.attr("output_height", 1)), int(node.attr("output_width", 1))]
    samples = max(int(node.attr("sampling_ratio", 0)), 1) ** 2
    reads = node.views()
    out = node.make(after)
    touched = out.elements * samples * 4
    work = (Work("vector", out.elements * samples * 8, "fp32"),)
    x = Touch(reads[0], touched, "random", const(1))
    node.emit(Facts("gather", "roi_align", work, reads=(x, *reads[1:]), writes=(out,)))


def grid_sample(node: Node) -> None:
    shape, grid = node.shape(0), node.shape(1)
    reads = node.views()
    out = node.make([*shape[:2], *grid[1:-1]])
    mode = str(node.attr("mode", "linear"))
    taps = 16 if "cubic" in mode else 1 if mode == "nearest" else 8
    work = (Work("vector", out.elements * taps, "fp32"),)
    x = Touch(reads[0], None, "random", const(1))
    node.emit(Facts("gather", "grid_sample", work, reads=(x, *reads[1:]), writes=(out,)))


def affine_grid(node: Node) -> None:
    size = node.sizes(1)
    reads = node.views()
    out = node.make([size[0], *size[2:], len(size) - 2])
    node.emit(
        Facts("elementwise", "mul", (Work("vector", out.elements * 4, "fp32"),), reads=(reads[0],), writes=(out,))
    )


def top_k(node: Node) -> None:
    shape = list(node.shape(0))
    axis = node.axis(len(shape), -1)
    wide = at(shape[axis], node.walk.batch)
    try:
        shape[axis] = node.sizes(1)[0] if node.has(1) else int(node.attr("k", 1))
    except Unsized:
        node.walk.notes.setdefault("results of TopK", "as many as could come out")
    x = node.view(0)
    outs = [node.make(shape)] if node.wants(0) else []
    outs += [node.make(shape, "int64", 1)] if node.wants(1) else []
    all_of_it = shape[axis] == node.shape(0)[axis]
    each = max(1.0, math.log2(max(wide, 2))) if all_of_it else 4.0
    fn = "sort" if all_of_it else "topk"
    node.emit(Facts("sort", fn, (Work("vector", x.elements * each, "fp32"),), reads=(x,), writes=tuple(outs)))


def cumulative(node: Node) -> None:
    x = node.view(0)
    fn = "cumprod" if node.op == "CumProd" else "cumsum"
    node.call(fn, {"self": x}, [node.make(node.shape(0))])


def dft(node: Node) -> None:
    """DFT: 5·N·log2(N) FLOPs a complex transform, half of it for real input (the FFTW convention)."""
    shape = list(node.shape(0))
    stated = node.number(2) if node.opset >= 20 else None
    axis = int(stated if stated is not None else node.attr("axis", -2 if node.opset >= 20 else 1)) % len(shape)
    length = node.sizes(1)[0] if node.has(1) else shape[axis]
    real = shape[-1] == 1
    shape[axis] = length // 2 + 1 if node.attr("onesided", 0) else length
    shape[-1] = 2
    x = node.view(0)
    out = node.make(shape)
    _transform(
        node,
        x,
        out,
        at(length, node.walk.batch),
        product(node.shape(0)[:axis]) * product(node.shape(0)[axis + 1 : -1]),
        real,
    )


def _transform(node: Node, x: View, out: View, points: int, times: Size, real: bool) -> None:
    flops = 5.0 * points * math.log2(max(points, 2)) * (0.5 if real else 1.0)
    work = (Work("vector", to_expr(times) * flops, "fp32"),)
    node.emit(Facts("fft", "fft_r2c" if real else "fft_c2c", work, reads=(x,), writes=(out,)))


def stft(node: Node) -> None:
    shape = node.shape(0)
    hop = node.sizes(1)[0]
    points = node.sizes(3)[0] if node.has(3) else node.shape(2)[0]
    if isinstance(hop, Poly) or isinstance(points, Poly) or hop < 1:
        raise Unsized(f"{node.where}: a hop of {hop}")
    frames = (shape[1] - points) // hop + 1
    bins = points // 2 + 1 if node.attr("onesided", 1) else points
    x = node.view(0)
    out = node.make([shape[0], frames, bins, 2])
    _transform(node, x, out, points, shape[0] * frames, True)


def window_function(node: Node) -> None:
    node.make([node.sizes(0)[0]], "fp32")


def mel(node: Node) -> None:
    bins, points = node.sizes(0)[0], node.sizes(1)[0]
    node.make([points // 2 + 1, bins], "fp32")


def loss(node: Node) -> None:
    x = node.view(0)
    outs = [node.make(node.shape(1) if node.attr("reduction", "mean") == "none" else (), index=0)]
    if node.wants(1):
        outs.append(node.make(node.shape(0), index=1))
    work = BlockBuilder.element_work("cross_entropy", x.elements)
    node.emit(Facts("reduction", "nll_loss_forward", work, reads=tuple(node.views()), writes=tuple(outs)))


def determinant(node: Node) -> None:
    """LU factorisation: 2/3·n³ FLOPs a matrix."""
    shape = node.shape(0)
    x = node.view(0)
    out = node.make(shape[:-2])
    n = to_expr(shape[-1])
    node.emit(
        Facts("other", "det", (Work("vector", out.elements * n * n * n * (2 / 3), "fp32"),), reads=(x,), writes=(out,))
    )


_NORMS = {
    "LayerNormalization": "layer_norm", "RMSNormalization": "rms_norm", "SimplifiedLayerNormalization": "rms_norm",
    "LpNormalization": "l2_norm", "MeanVarianceNormalization": "layer_norm", "LRN": "l2_norm",
}  # fmt: skip

_RULES: dict[str, Any] = {
    **dict.fromkeys(_REDUCTIONS, reduction), **dict.fromkeys(_NORMS, norm), "ArgMax": arg, "ArgMin": arg,
    "Softmax": softmax, "LogSoftmax": softmax, "Hardmax": softmax, "BatchNormalization": batch_norm,
    "InstanceNormalization": group_norm, "GroupNormalization": group_norm, "MaxPool": pool, "AveragePool": pool,
    "LpPool": pool, "GlobalMaxPool": global_pool, "GlobalAveragePool": global_pool, "GlobalLpPool": global_pool,
    "MaxUnpool": unpool, "RoiAlign": roi, "MaxRoiPool": roi, "GridSample": grid_sample, "AffineGrid": affine_grid,
    "TopK": top_k, "CumSum": cumulative, "CumProd": cumulative, "DFT": dft, "STFT": stft, "HannWindow": window_function,
    "HammingWindow": window_function, "BlackmanWindow": window_function, "MelWeightMatrix": mel,
    "SoftmaxCrossEntropyLoss": loss, "NegativeLogLikelihoodLoss": loss, "Det": determinant,
}  # fmt: skip
REDUCING: dict[tuple[str, str], Rule] = {("", name): rule for name, rule in _RULES.items()}
