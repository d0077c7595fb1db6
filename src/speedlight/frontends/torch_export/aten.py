"""The op table: an ATen call → what it computes and moves (DESIGN decision 2), without torch.

Found in this order: products, convolutions, attention (:mod:`.products`); the tables below by name; PyTorch's own tags
``pointwise`` and ``reduction``; else the call is unknown: kind ``other``, its bytes from its tensors, its name reported.
"""

from __future__ import annotations

import math

from ..._foundation.expr import Expr, const
from ...graph.builder import BlockBuilder
from ...graph.ir import Work
from .calls import Call, Facts, Handler, Touch, View, size_of
from .products import PRODUCTS

# No kernel runs: views the schema does not mark, checks, questions about a tensor.
FREE = frozenset({
    "detach", "alias", "unsafe_view", "reshape_alias", "lift", "lift_fresh", "lift_fresh_copy", "view_of", "is_same_size",
    "assert_tensor_metadata", "assert_async", "assert_scalar", "functional_assert_async", "functional_assert_scalar",
    "sym_constrain_range", "sym_constrain_range_for_size", "functional_sym_constrain_range", "local_scalar_dense", "item",
    "scalar_tensor", "empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided",
    "sym_size", "sym_stride", "sym_numel", "sym_storage_offset", "resize", "set", "is_pinned", "device", "dim_arange",
})  # fmt: skip

_COPIES = {
    "clone": "copy", "copy": "copy", "contiguous": "copy", "cat": "cat", "concat": "cat", "stack": "cat",
    "constant_pad_nd": "pad", "reflection_pad1d": "pad", "reflection_pad2d": "pad", "reflection_pad3d": "pad",
    "replication_pad1d": "pad", "replication_pad2d": "pad", "replication_pad3d": "pad", "roll": "roll", "flip": "flip",
    "repeat": "repeat", "im2col": "unfold", "col2im": "fold", "pixel_shuffle": "pixel_shuffle",
    "pixel_unshuffle": "pixel_unshuffle", "channel_shuffle": "channel_shuffle", "slice_scatter": "copy", "tril": "tril",
    "select_scatter": "copy", "as_strided_scatter": "copy", "triu": "triu", "native_channel_shuffle": "channel_shuffle",
    "unfold_backward": "fold", "slice_backward": "pad", "select_backward": "pad", "slice_copy": "copy",
    "split_with_sizes_copy": "copy", "split_copy": "copy", "block_diag": "cat", "diag_embed": "pad",
}  # fmt: skip

_FILLS = frozenset({
    "fill", "zero", "zeros", "ones", "full", "arange", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones",
    "new_full", "eye", "linspace", "logspace", "tril_indices", "triu_indices",
})  # fmt: skip
_RANDOM = frozenset({
    "bernoulli", "rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "normal", "uniform", "randperm",
    "exponential", "log_normal", "multinomial", "normal_functional", "cauchy", "geometric", "random",
})  # fmt: skip

_NORMS = {
    "native_layer_norm": "layer_norm", "native_group_norm": "group_norm", "native_batch_norm": "batch_norm",
    "native_batch_norm_legit": "batch_norm", "native_batch_norm_legit_no_training": "batch_norm",
    "native_batch_norm_legit_functional": "batch_norm", "batch_norm_with_update": "batch_norm",
    "batch_norm_with_update_functional": "batch_norm", "batch_norm_no_update": "batch_norm",
    "cudnn_batch_norm": "batch_norm", "miopen_batch_norm": "batch_norm", "rms_norm": "rms_norm",
    "fused_rms_norm": "rms_norm", "fused_rms_norm_composite": "rms_norm", "weight_norm_interface": "l2_norm",
    "local_response_norm": "l2_norm",
}  # fmt: skip

_REDUCTIONS = frozenset({
    "mean", "sum", "amax", "amin", "max", "min", "argmax", "argmin", "var", "std", "var_mean", "std_mean", "norm",
    "linalg_vector_norm", "prod", "any", "all", "logsumexp", "nansum", "aminmax", "count_nonzero", "bincount", "histc",
    "nll_loss_forward", "nll_loss2d_forward", "mse_loss", "smooth_l1_loss", "huber_loss", "trace", "is_nonzero", "equal",
    "binary_cross_entropy", "ctc_loss", "segment_reduce", "l1_loss", "kl_div",
})  # fmt: skip

_POOLS = {
    "max_pool2d_with_indices": "max_pool", "max_pool3d_with_indices": "max_pool", "max_pool2d": "max_pool",
    "max_pool1d": "max_pool", "mkldnn_max_pool2d": "max_pool", "avg_pool1d": "avg_pool", "avg_pool2d": "avg_pool",
    "avg_pool3d": "avg_pool", "adaptive_avg_pool2d": "avg_pool", "adaptive_avg_pool3d": "avg_pool",
    "adaptive_max_pool2d": "max_pool", "adaptive_max_pool3d": "max_pool", "fractional_max_pool2d": "max_pool",
    "fractional_max_pool3d": "max_pool",
}  # fmt: skip

_SORTS = frozenset({
    "sort", "topk", "argsort", "kthvalue", "median", "nanmedian", "mode", "msort", "unique2", "unique_dim", "nms",
    "unique_consecutive", "searchsorted", "bucketize",
})  # fmt: skip
_SCANS = frozenset({"cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "cummax_helper", "cummin_helper"})

# Elementwise calls that PyTorch does not tag as such, and names we spell otherwise.
_ELEMENTWISE = {
    "gelu": "gelu", "silu": "silu", "hardtanh": "clamp", "relu6": "clamp", "clamp_min": "clamp", "clamp_max": "clamp",
    "native_dropout": "dropout", "dropout": "dropout", "log_sigmoid_forward": "softplus", "glu": "sigmoid",
    "prelu_kernel": "prelu", "rrelu_with_noise": "prelu", "where": "where", "masked_fill": "where", "mish": "mish",
    "hardswish": "hardswish", "celu": "elu", "square": "mul", "rsub": "sub", "floor_divide": "div", "lerp": "lerp", "complex": "copy",
    "polar": "sin", "view_as_real_copy": "copy", "conj_physical": "copy", "foreach_add": "add", "foreach_mul": "mul",
    "embedding_renorm": "l2_norm", "fused_dropout": "dropout", "affine_grid_generator": "mul",
}  # fmt: skip


def describe(call: Call) -> list[Facts]:
    """The facts of a call; several where one call is several steps (recurrent layers)."""
    handler = PRODUCTS.get(call.name) or _TABLE.get(call.name)
    if handler is None:
        if call.pointwise:
            handler = elementwise
        elif call.reducing:
            handler = reduction
        else:
            handler = unknown
    facts = handler(call)
    return facts if isinstance(facts, list) else [facts]


def unknown(call: Call) -> Facts:
    """One vector operation an element, for want of better; listed in the answer's coverage."""
    size = _largest([*call.views, *call.outs])
    return Facts("other", call.name, BlockBuilder.element_work("other", size), known=False)


def _largest(views: list[View]) -> Expr:
    """The elements of the largest view, at the traced size."""
    if not views:
        return const(0)
    return max(views, key=lambda v: math.prod(v.hints)).elements


def elementwise(call: Call) -> Facts:
    fn = _ELEMENTWISE.get(call.name, call.name)
    if fn == "gelu" and call.args.get("approximate") == "tanh":
        fn = "gelu_tanh"
    cheap = fn == "pow" and call.args.get("exponent") in (2, 2.0, 3, 3.0)
    work = BlockBuilder.element_work("mul" if cheap else fn, _largest(list(call.outs)))
    views = call.views
    square = fn == "mul" and len(views) == 2 and (views[0].tensor, views[0].part) == (views[1].tensor, views[1].part)
    return Facts("elementwise", fn, work, attrs={"square": True} if square else {})


def fill(call: Call) -> Facts:
    return Facts("elementwise", "fill", reads=())


def random(call: Call) -> Facts:
    return Facts("elementwise", "random", BlockBuilder.element_work("random", _largest(list(call.outs))), reads=())


def copy(call: Call) -> Facts:
    """Copies read only what they take: overwriting a tensor does not read what was there."""
    reads = tuple(v for name, v in call.args.items() if isinstance(v, View) and not (call.in_place and name == "self"))
    listed = [v for value in call.args.values() if isinstance(value, list) for v in value if isinstance(v, View)]
    return Facts("copy", _COPIES.get(call.name, "copy"), reads=(*reads, *listed))


def to_copy(call: Call) -> Facts:
    source = call.view("self")
    fn = "cast" if source.dtype != call.out.dtype else "copy"
    return Facts("copy", fn, BlockBuilder.element_work(fn, call.out.elements))


def norm(call: Call) -> Facts:
    """Rows and width: what is normalised together is a row, except for batch norm, whose rows share channels."""
    fn = _NORMS[call.name]
    x = call.views[0]
    if fn == "batch_norm":
        return batch_norm(call, x)
    if fn == "group_norm":
        rows = x.shape[0] * int(call.args.get("group", 1))
        width = x.elements / rows
    else:
        normalised = call.args.get("normalized_shape") or ()
        inner = x.shape[x.rank - len(normalised) :] if normalised else x.shape[-1:]
        width = size_of(inner)
        rows = size_of(x.shape[: x.rank - len(inner)])
    return Facts("norm", fn, BlockBuilder.element_work(fn, x.elements), {"rows": rows, "width": width})


def batch_norm(call: Call, x: View) -> Facts:
    """In training the statistics need a pass of their own before the normalising one, so x is read twice.

    Statistics of the batch are results in training only; what some kernels return in their place otherwise is empty.
    """
    training = bool(call.args.get("training", call.args.get("train", call.name.endswith("update"))))
    width = x.shape[1]
    rows = size_of([*x.shape[:1], *x.shape[2:]])
    learned = call.views[1:]
    statistics = [v for v in learned if v.cls == "constant"]
    reads: list[View | Touch] = [Touch(x, reuse=const(2)) if training else x, *learned]
    work = BlockBuilder.element_work("layer_norm" if training else "batch_norm", x.elements)
    writes: tuple[View | Touch, ...] = tuple(call.outs[:1])
    if training:
        writes = (*call.outs, *[Touch(v, v.elements) for v in statistics])
    return Facts(
        "norm", "batch_norm", work, {"rows": rows, "width": width}, {"training": training}, tuple(reads), writes
    )


def reduction(call: Call) -> Facts:
    """``rows`` results of ``width`` elements each; ``attrs["over"]`` names the dimensions that go."""
    source = call.views[0] if call.views else call.out
    work = BlockBuilder.element_work(call.name, source.elements)
    given = call.args.get("dim")
    listed = given if isinstance(given, (list, tuple)) else [] if given is None else [given]
    over = tuple(sorted(int(d) % source.rank for d in listed if isinstance(d, int) and source.rank))
    width = size_of([source.shape[d] for d in over]) if over else source.elements
    rows = size_of([s for d, s in enumerate(source.shape) if d not in over]) if over else const(1)
    return Facts("reduction", call.name, work, {"rows": rows, "width": width}, {"over": over})


_AXES = ("d", "h", "w")


def window_dims(x: View, out: View) -> dict[str, Expr]:
    """Batch, channels and the sizes in and out of what slides over images; missing axes are 1."""
    if out.rank != x.rank or not 3 <= x.rank <= 5:
        return {}
    dims = {"batch": x.shape[0], "channels": x.shape[1], "in_h": const(1), "out_h": const(1)}
    for axis, name in enumerate(_AXES[5 - x.rank :]):
        dims[f"in_{name}"], dims[f"out_{name}"] = x.shape[2 + axis], out.shape[2 + axis]
    return dims


def pool(call: Call) -> Facts:
    x, out = call.views[0], call.out
    kernel = call.args.get("kernel_size")
    rank = 3 if "3d" in call.name else 2 if "2d" in call.name else 1
    sizes = _plain(kernel)
    sizes = sizes * rank if len(sizes) == 1 else sizes
    work = out.elements * math.prod(sizes) if kernel else x.elements
    dims = window_dims(x, out)
    for name, size in zip(_AXES[3 - rank :], sizes, strict=False):
        dims[f"kernel_{name}"] = const(size)
    stride, padding = _plain(call.args.get("stride")), _plain(call.args.get("padding"))
    attrs = {"kernel": sizes, "stride": stride or sizes, "padding": padding, "adaptive": not kernel}
    return Facts("reduction", _POOLS[call.name], (Work("vector", work, "fp32"),), dims, attrs)


def _plain(value: object) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else ()


def softmax(call: Call) -> Facts:
    x = call.views[0]
    dim = int(call.args.get("dim", -1))
    width = x.shape[dim] if x.rank else const(1)
    fn = "log_softmax" if "log" in call.name else "softmax"
    return Facts(
        "softmax", fn, BlockBuilder.element_work("softmax", x.elements), {"rows": x.elements / width, "width": width}
    )


def embedding(call: Call) -> Facts:
    """Only the rows that are looked up are read."""
    table, indices = call.view("weight"), call.view("indices")
    width = size_of(table.shape[1:])
    rows = indices.elements
    others = tuple(v for v in call.views if v not in (table, indices))
    work = () if call.name == "embedding" else BlockBuilder.element_work("add", rows * width)
    reads: tuple[View | Touch, ...] = (Touch(table, rows * width, "random", width), indices, *others)
    return Facts("embedding", call.name, work, {"rows": rows, "width": width}, reads=reads)


def gather(call: Call) -> Facts:
    """aten::gather, index, index_select, take: as many elements as come out, in runs of what is not indexed."""
    source, out = call.views[0], call.out
    if call.name == "index_select":
        run = size_of(source.shape[int(call.args.get("dim", 0)) % max(source.rank, 1) + 1 :])
    elif call.name == "index":
        given = call.args.get("indices")
        depth = max((i + 1 for i, v in enumerate(given or ()) if isinstance(v, View)), default=source.rank)
        run = size_of(source.shape[depth:])
    else:
        run = const(1)
    reads: tuple[View | Touch, ...] = (Touch(source, out.elements, "random", run), *call.views[1:])
    return Facts("gather", call.name, reads=reads)


def scatter(call: Call) -> Facts:
    """aten::scatter*, index_put, index_add …: reads the source, writes its elements at random places.

    A functional call (no trailing underscore) also copies the tensor it scatters into.
    """
    target, rest = call.views[0], call.views[1:]
    moved = [v for v in rest if v.dtype == target.dtype] or rest or [target]
    size = _largest(moved)
    hit = Touch(call.out, size, "random", const(1))
    if call.in_place:
        return Facts("gather", call.name, BlockBuilder.element_work("add", size), reads=tuple(rest), writes=(hit,))
    writes: tuple[View | Touch, ...] = (Touch(call.out, call.out.elements + size, "random", const(1)),)
    return Facts("gather", call.name, BlockBuilder.element_work("add", size), reads=tuple(call.views), writes=writes)


def interpolate(call: Call) -> Facts:
    """aten::upsample_*, grid_sampler_*, roi_align: each output reads a few neighbours, each input comes in about once."""
    taps = 16 if "bicubic" in call.name else 1 if "nearest" in call.name else 8
    x = call.views[0]
    access = "random" if "grid" in call.name or "roi" in call.name else "streamed"
    touch = Touch(x, None, access, const(1) if access == "random" else None)
    grid = "grid" in call.name
    return Facts(
        "gather", "grid_sample" if grid else "interpolate", (Work("vector", call.out.elements * taps, "fp32"),),
        window_dims(x, call.out), {} if grid else {"mode": call.name, "taps": taps}, reads=(touch, *call.views[1:]),
    )  # fmt: skip


def sort(call: Call) -> Facts:
    """n·log2(n) comparisons along a row; topk one pass and a small sort."""
    x = call.views[0]
    width = x.hints[int(call.args.get("dim", -1))] if x.rank else 1
    each = 4.0 if call.name == "topk" else max(1.0, math.log2(max(width, 2)))
    return Facts("sort", call.name, (Work("vector", x.elements * each, "fp32"),))


def scan(call: Call) -> Facts:
    """Parallel prefix sums: about two operations an element, no dependent steps beyond the kernel's own tree."""
    return Facts("scan", call.name.removesuffix("_helper"), (Work("vector", call.views[0].elements * 2, "fp32"),))


def fft(call: Call) -> Facts:
    """5·N·log2(N) FLOPs for a complex transform of N points, half of it for a real one (the FFTW convention)."""
    x = call.views[0]
    dims = call.args.get("dim") or [-1]
    points = math.prod(x.hints[int(d)] for d in dims)
    each = 5.0 * math.log2(max(points, 2)) * (1.0 if call.name == "fft_c2c" else 0.5)
    return Facts("fft", call.name, (Work("vector", _largest([x, call.out]) * each, "fp32"),))


_GATHERS = ("gather", "index", "index_select", "take", "masked_select", "take_along_dim", "repeat_interleave", "nonzero",
            "unsafe_index", "gather_backward")  # fmt: skip
_SCATTERS = (
    "scatter", "scatter_add", "scatter_reduce", "index_put", "index_put_impl", "index_add", "index_copy", "index_fill",
    "masked_scatter", "put", "index_reduce", "unsafe_index_put", "index_put_accumulate",
)  # fmt: skip
_INTERPOLATIONS = (
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_bilinear2d", "upsample_bicubic2d",
    "upsample_trilinear3d", "upsample_linear1d", "upsample_nearest_exact1d", "upsample_nearest_exact2d",
    "upsample_nearest_exact3d", "upsample_bilinear2d_aa", "upsample_bicubic2d_aa", "grid_sampler_2d", "grid_sampler_3d",
    "grid_sampler_2d_cpu_fallback", "cudnn_grid_sampler", "roi_align", "roi_pool",
)  # fmt: skip

_TABLE: dict[str, Handler] = {
    **dict.fromkeys(_COPIES, copy), "to_copy": to_copy, **dict.fromkeys(_FILLS, fill), **dict.fromkeys(_RANDOM, random),
    **dict.fromkeys(_NORMS, norm), **dict.fromkeys(_REDUCTIONS, reduction), **dict.fromkeys(_POOLS, pool),
    **dict.fromkeys(_SORTS, sort), **dict.fromkeys(_SCANS, scan), **dict.fromkeys(_ELEMENTWISE, elementwise),
    **dict.fromkeys(_GATHERS, gather), **dict.fromkeys(_SCATTERS, scatter),
    **dict.fromkeys(_INTERPOLATIONS, interpolate), "softmax": softmax, "log_softmax": softmax, "safe_softmax": softmax,
    "embedding": embedding, "embedding_bag": embedding, "embedding_bag_forward_only": embedding,
    "fft_r2c": fft, "fft_c2c": fft, "fft_c2r": fft,
}  # fmt: skip
