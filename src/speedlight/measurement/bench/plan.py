"""What is measured, in which order: points that tell most come first, so that an interrupted measurement is of use.

A point names a sort of benchmark and its sizes; its name is stable, and a resumed measurement skips the names it holds already.
Sizes are what models run: products of transformers and heads of convolutional nets, convolutions of ResNets, MobileNets and
U-Nets, rows of norms; and working sets from the first cache to well beyond the last.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from .operators import INTEGERS, MIXED, UNPACKED, WRITTEN_OUT
from .plan_accelerator import accelerator_points
from .point import KIB, MIB, Point


def points(
    cache_bytes: float, formats: tuple[str, ...] = ("fp32", "bf16"), device: str = "cpu", slow: tuple[str, ...] = ()
) -> tuple[Point, ...]:
    """Everything to measure.

    Args:
        formats: that are multiplied at about fp32's rate or faster.
        slow: that PyTorch multiplies too, many times slower: a few points of each.
        cache_bytes: of the last cache: main memory is measured well beyond it.
    """
    found = [*_dispatch(), *_large(formats), *(_streams(cache_bytes) if device == "cpu" else ())]
    found += [
        *_products(formats),
        *_integers(device),
        *_emulated(slow),
        *_convolutions(formats),
        *_rows(),
        *_elements(cache_bytes),
        *_attention(),
        *_others(),
        *_moves(),
        *_cold(cache_bytes),
        *_gradients(),
        *_networks(),
    ]
    # Messages go between processes of a host; between devices they need two of them.
    found += [*_messages(), *_disk()] if device == "cpu" else [*accelerator_points(formats)]
    unique = {p.name: p for p in found}
    return tuple(sorted(unique.values(), key=lambda p: not p.quick))


def _dispatch() -> Iterator[Point]:
    """What an operator costs before it computes anything."""
    yield Point("launch", "view", {}, quick=True)
    yield Point("launch", "add", {"elements": 1}, quick=True)
    yield Point("launch", "mm", {"m": 1, "n": 1, "k": 1}, quick=True)
    yield Point("launch", "linear", {"m": 1, "n": 1, "k": 1})
    yield Point("launch", "relu", {"elements": 1})
    yield Point("launch", "layer_norm", {"rows": 1, "columns": 8})
    yield Point("launch", "softmax", {"rows": 1, "columns": 8})
    yield Point("launch", "conv2d", {"b": 1, "channels": 8, "filters": 8, "side": 4, "kernel": 1})
    # Calls of oneDNN: two images, or filters of single channels. One small image is a product of its own (im2col, gemm).
    yield Point("launch", "conv2d", {"b": 2, "channels": 8, "filters": 8, "side": 4, "kernel": 1})
    yield Point("launch", "conv2d", {"b": 1, "channels": 8, "filters": 8, "side": 4, "kernel": 3, "groups": 8})
    yield Point("launch", "conv2d", {"b": 1, "channels": 8, "filters": 8, "side": 4, "kernel": 3})
    yield Point("launch", "sdpa", {"b": 1, "heads": 1, "queries": 1, "keys": 1, "width": 16})
    yield Point("launch", "module", {}, quick=True)
    for operators in (0, len(MIXED)):
        yield Point("launch", "mixed", {"elements": 2**20, "operators": operators}, quick=True)
    yield Point("launch", "recorded", {"training": 1, "steps": 32})
    yield Point("launch", "bmm", {"b": 1, "m": 1, "n": 1, "k": 1})
    yield Point("launch", "cat", {"b": 1, "channels": 1, "side": 1})
    yield Point("launch", "last", {"b": 1, "channels": 2, "side": 2})
    yield Point("launch", "embedding", {"tokens": 1, "table": 8, "columns": 8})
    yield Point("launch", "batch_norm", {"b": 1, "channels": 8, "side": 1})
    yield Point("launch", "group_norm", {"b": 1, "channels": 8, "side": 1, "groups": 2})
    yield Point("launch", "sum", {"rows": 1, "columns": 8})
    yield Point("launch", "max_pool", {"b": 1, "channels": 1, "side": 4})
    yield Point("launch", "mean_pool", {"b": 1, "channels": 8, "side": 2})


def _large(formats: tuple[str, ...]) -> Iterator[Point]:
    """Products large enough to reach the peak."""
    for form in formats:
        for size in (1024, 2048, 4096):
            yield Point("operator", "mm", {"m": size, "n": size, "k": size, "format": form}, quick=size == 2048)


def _streams(cache_bytes: float) -> Iterator[Point]:
    top = 2 ** math.ceil(math.log2(max(cache_bytes, MIB) * 8))
    sizes = [s for s in (2**p for p in range(14, 31)) if s <= max(top, 64 * MIB)]
    for loop in ("read", "triad", "copy", "write"):
        for size in sizes:
            yield Point("stream", loop, {"working_set": size}, quick=loop == "triad" and size in (sizes[1], sizes[-1]))


def _products(formats: tuple[str, ...]) -> Iterator[Point]:
    shapes = [
        (m, n, k)
        for (n, k), m in itertools.product(
            ((64, 64), (256, 256), (768, 768), (3072, 768), (768, 3072), (2304, 768), (1000, 2048), (4096, 1024), (1000, 512), (128, 1024),
             (192, 192), (576, 192), (384, 1536), (1536, 384), (32000, 512)),
            (1, 4, 16, 64, 196, 512, 2048),
        )
    ]  # fmt: skip
    for form in formats:
        for m, n, k in shapes:
            yield Point(
                "operator",
                "linear",
                {"m": m, "n": n, "k": k, "format": form},
                quick=form == "fp32" and (m, n) in ((1, 3072), (196, 768)),
            )
    for b, m, n, k in (
        (12, 197, 197, 64),
        (12, 197, 64, 197),
        (96, 49, 49, 32),
        (16, 512, 512, 64),
        (64, 1, 128, 64),
        (8, 64, 64, 16),
        (96, 128, 128, 64),
        (256, 49, 49, 32),
        (4, 1024, 1024, 64),
        (4, 1024, 64, 1024),
        (2, 256, 4096, 32),
        (384, 16, 16, 24),
    ):
        yield Point("operator", "bmm", {"b": b, "m": m, "n": n, "k": k})
        yield Point("operator", "bmm", {"b": b, "m": m, "n": n, "k": k, "lies": "nt"})
    for m, n, k in (
        (196, 768, 768),
        (512, 768, 3072),
        (768, 3072, 512),
        (2304, 768, 196),
        (1000, 512, 8),
        (256, 256, 2048),
    ):
        for lies in ("nn", "tn"):
            yield Point("operator", "mm", {"m": m, "n": n, "k": k, "lies": lies})


def _integers(device: str) -> Iterator[Point]:
    """Linear layers with weights in 8 bits: multiplied as such, which PyTorch has for hosts, or widened before."""
    if device != "cpu":
        return
    shapes = [
        (2048, 2048, 2048),
        *itertools.product((1, 8, 64, 196, 512), (192, 512, 768), (192, 768)),
        (196, 3072, 768),
        (196, 768, 3072),
    ]
    for m, n, k in (*shapes, (1, 3072, 768), (16, 1000, 2048), (512, 2048, 512), (512, 512, 2048), (1024, 192, 768)):
        yield Point("operator", INTEGERS, {"m": m, "n": n, "k": k})
    for m, n, k in (
        (8, 192, 768),
        (1, 768, 768),
        (8, 768, 288),
        (196, 768, 192),
        (196, 768, 768),
        (512, 2048, 512),
        (8, 32000, 288),
    ):
        yield Point("operator", UNPACKED, {"m": m, "n": n, "k": k})


def _emulated(formats: tuple[str, ...]) -> Iterator[Point]:
    """Products and convolutions in formats that the processor widens first: enough to know by how much they are slower."""
    for form in formats:
        yield Point("operator", "mm", {"m": 1024, "n": 1024, "k": 1024, "format": form})
        for m, n, k in (
            (1, 1000, 512),
            (8, 768, 768),
            (64, 768, 192),
            (196, 768, 768),
            (512, 512, 512),
            (512, 2048, 512),
            (1576, 192, 768),
        ):
            yield Point("operator", "linear", {"m": m, "n": n, "k": k, "format": form})
        for b, channels, filters, side, kernel, stride in (
            (1, 64, 64, 56, 3, 1), (4, 64, 64, 28, 3, 1), (1, 128, 128, 28, 3, 1), (1, 64, 128, 56, 3, 2), (1, 256, 256, 14, 3, 1),
            (2, 128, 256, 14, 1, 1), (2, 32, 192, 28, 1, 1), (4, 3, 64, 112, 7, 2), (4, 3, 192, 224, 16, 16),
        ):  # fmt: skip
            sizes = {"b": b, "channels": channels, "filters": filters, "side": side, "kernel": kernel, "stride": stride}
            yield Point("operator", "conv2d", {**sizes, "format": form})
        for channels, side, b in ((96, 28, 1), (192, 14, 4)):
            sizes = {"b": b, "channels": channels, "filters": channels, "side": side, "kernel": 3, "groups": channels}
            yield Point("operator", "conv2d", {**sizes, "format": form})
        for b, heads, length, width in ((4, 3, 197, 64), (4, 8, 128, 64)):
            sizes = {"b": b, "heads": heads, "queries": length, "keys": length, "width": width}
            yield Point("operator", "sdpa", {**sizes, "format": form})


def _convolutions(formats: tuple[str, ...]) -> Iterator[Point]:
    dense = [
        (3, 64, 224, 7, 2), (64, 64, 56, 1, 1), (64, 64, 56, 3, 1), (64, 256, 56, 1, 1), (256, 128, 56, 1, 1), (128, 128, 56, 3, 2),
        (128, 128, 28, 3, 1), (256, 256, 14, 3, 1), (1024, 256, 14, 1, 1), (512, 512, 7, 3, 1), (512, 2048, 7, 1, 1),
        (2048, 512, 7, 1, 1), (3, 32, 224, 3, 2), (32, 16, 112, 1, 1), (16, 96, 112, 1, 1), (96, 24, 56, 1, 1), (144, 32, 28, 1, 1),
        (3, 96, 224, 4, 4), (320, 320, 32, 3, 1), (32, 32, 64, 3, 1), (128, 64, 32, 3, 1), (24, 24, 112, 3, 1), (48, 96, 56, 3, 2),
        (16, 64, 56, 1, 1), (40, 240, 28, 1, 1), (240, 80, 14, 1, 1), (480, 112, 14, 1, 1), (160, 960, 7, 1, 1), (384, 384, 14, 1, 1),
        (256, 512, 28, 1, 2), (192, 192, 28, 5, 1), (768, 128, 28, 1, 1), (128, 32, 28, 3, 1), (240, 10, 1, 1, 1), (960, 240, 1, 1, 1),
        (3, 384, 224, 16, 16), (96, 192, 56, 2, 2), (256, 256, 64, 3, 1),
    ]  # fmt: skip
    for b in (1, 8):
        for channels, filters, side, kernel, stride in dense:
            sizes = {"b": b, "channels": channels, "filters": filters, "side": side, "kernel": kernel, "stride": stride}
            yield Point(
                "operator",
                "conv2d",
                {**sizes, "format": "fp32"},
                quick=b == 1 and (channels, side, kernel) in ((64, 56, 3), (256, 14, 3), (1024, 14, 1)),
            )
        for channels, side, kernel, stride in (
            (32, 112, 3, 1), (96, 112, 3, 2), (144, 56, 3, 1), (192, 28, 3, 2), (384, 14, 3, 1), (960, 7, 3, 1), (96, 56, 7, 1), (384, 14, 7, 1),
            (768, 7, 7, 1), (240, 14, 5, 1), (64, 112, 3, 2), (72, 28, 5, 2), (576, 14, 3, 2), (192, 28, 7, 1), (128, 28, 9, 1),
        ):  # fmt: skip
            sizes = {
                "b": b,
                "channels": channels,
                "filters": channels,
                "side": side,
                "kernel": kernel,
                "stride": stride,
                "groups": channels,
            }
            yield Point(
                "operator", "conv2d", {**sizes, "format": "fp32"}, quick=b == 1 and (channels, kernel) == (144, 3)
            )
        for channels, side, groups in (
            (128, 56, 32),
            (256, 28, 32),
            (512, 14, 32),
            (224, 28, 4),
            (1024, 7, 32),
            (96, 28, 6),
            (440, 14, 55),
        ):
            sizes = {"b": b, "channels": channels, "filters": channels, "side": side, "kernel": 3, "groups": groups}
            yield Point("operator", "conv2d", {**sizes, "format": "fp32"})
        for channels, filters, side, kernel, width in ((192, 192, 17, 1, 7), (192, 192, 17, 7, 1), (384, 384, 8, 1, 3)):
            sizes = {"b": b, "channels": channels, "filters": filters, "side": side, "kernel": kernel, "width": width}
            yield Point("operator", "conv2d", {**sizes, "format": "fp32"})
    yield from _small_convolutions()
    yield from _convolutions_of_tokens()
    if "bf16" in formats:
        for channels, filters, side, kernel, stride in dense[1:8:2]:
            yield Point(
                "operator",
                "conv2d",
                {
                    "b": 8,
                    "channels": channels,
                    "filters": filters,
                    "side": side,
                    "kernel": kernel,
                    "stride": stride,
                    "format": "bf16",
                },
            )


def _small_convolutions() -> Iterator[Point]:
    """One image of few numbers, which PyTorch gives to a product of its own instead of oneDNN."""
    for channels, filters, side, kernel, stride in (
        (80, 200, 14, 1, 1), (400, 96, 7, 1, 1), (48, 300, 20, 1, 1), (24, 24, 24, 1, 1), (64, 64, 14, 3, 1), (200, 200, 8, 3, 1),
        (16, 32, 32, 3, 1), (48, 96, 20, 3, 2),
    ):  # fmt: skip
        sizes = {"b": 1, "channels": channels, "filters": filters, "side": side, "kernel": kernel, "stride": stride}
        yield Point("operator", "conv2d", {**sizes, "format": "fp32"})


def _convolutions_of_tokens() -> Iterator[Point]:
    for b in (1, 8):
        for channels, filters, side, kernel, stride in (
            (96, 96, 28, 3, 1), (200, 200, 14, 3, 1), (640, 640, 7, 3, 1), (48, 48, 48, 7, 1), (320, 320, 14, 7, 1), (128, 128, 56, 3, 1),
            (96, 96, 56, 3, 2),
        ):  # fmt: skip
            sizes = {"b": b, "channels": channels, "filters": filters, "side": side, "kernel": kernel, "stride": stride}
            yield Point("operator", "conv_of_tokens", {**sizes, "groups": channels})
        for channels, filters, side, kernel, stride in (
            (64, 128, 28, 2, 2), (48, 96, 40, 3, 2), (160, 160, 14, 2, 2), (32, 32, 56, 8, 8), (128, 128, 14, 3, 1), (96, 200, 20, 1, 1),
        ):  # fmt: skip
            sizes = {"b": b, "channels": channels, "filters": filters, "side": side, "kernel": kernel, "stride": stride}
            yield Point("operator", "conv_of_tokens", sizes)


def _rows() -> Iterator[Point]:
    for op in ("layer_norm", "softmax", "sum"):
        for rows, columns in (
            (1, 768),
            (16, 1024),
            (196, 768),
            (512, 768),
            (2048, 1024),
            (12 * 197, 197),
            (8192, 4096),
            (3136, 96),
            (25088, 96),
            (1568, 768),
            (96 * 128, 128),
            (2401, 49),
        ):
            yield Point("operator", op, {"rows": rows, "columns": columns}, quick=op == "layer_norm" and rows == 196)
    for b, channels, side in ((1, 64, 56), (8, 64, 56), (8, 256, 14), (1, 512, 7), (8, 32, 112)):
        yield Point("operator", "batch_norm", {"b": b, "channels": channels, "side": side}, quick=b == 8 and side == 56)
        for op in (
            "max_pool",
            "avg_pool",
            "mean_pool",
            "group_norm",
            "batch_norm_train",
            "channelwise",
            "last",
            "upsample",
            "cat",
            "pad",
        ):
            yield Point("operator", op, {"b": b, "channels": channels, "side": side})
    for rows, columns in ((64, 512), (512, 768), (2048, 1024)):
        yield Point("operator", "rms_norm", {"rows": rows, "columns": columns})
        yield Point("operator", "rowwise", {"rows": rows, "columns": columns})


def _elements(cache_bytes: float) -> Iterator[Point]:
    large = int(2 ** math.ceil(math.log2(max(cache_bytes, MIB))))
    for op in (
        "add", "copy", "relu", "gelu", "silu", "exp", "tanh", "mul", "div", "scale", "relu_", "sigmoid", "hardswish", "rsqrt", "erf", "relu6", "hardsigmoid", "sub", "clone",
    ):  # fmt: skip
        for elements in (1024, 16384, 2**17, 2**20, 2**22, large):
            yield Point("operator", op, {"elements": elements}, quick=op in ("add", "gelu") and elements == 2**20)
    for op in ("where", "cast", "square", "clamp", "neg", "sin"):
        for elements in (16384, 2**20, 2**22):
            yield Point("operator", op, {"elements": elements})
    for rows, table, columns in ((4, 196, 196 * 196), (8, 1024, 256 * 256)):
        yield Point("operator", "pick", {"rows": rows, "table": table, "columns": columns})
    for elements in (2**16, 2**19, 2**21, 2**22, 2**23, 2**24):
        yield Point("operator", "chain", {"elements": elements, "steps": 8}, quick=elements == 2**21)
    for rows, columns in ((256, 256), (1024, 1024), (4096, 4096)):
        yield Point("operator", "transpose", {"rows": rows, "columns": columns})


def _attention() -> Iterator[Point]:
    for b, heads, length, width in ((4, 3, 197, 64), (1, 6, 197, 64), (4, 8, 128, 64), (2, 12, 64, 64), (8, 4, 49, 32)):
        yield Point("operator", WRITTEN_OUT, {"b": b, "heads": heads, "length": length, "width": width})
    for b, heads, queries, keys, width in (
        (1, 12, 197, 197, 64),
        (8, 12, 197, 197, 64),
        (1, 12, 512, 512, 64),
        (1, 12, 1, 512, 64),
        (1, 8, 1024, 1024, 64),
        (8, 8, 64, 64, 32),
        (8, 12, 128, 128, 64),
        (1, 6, 1500, 1500, 64),
        (64, 3, 49, 49, 32),
        (8, 4, 256, 16, 32),
        (8, 14, 32, 32, 64),
        # heads of few numbers, as image models have them, and of many
        (1, 16, 400, 400, 8),
        (8, 12, 200, 200, 8),
        (4, 20, 300, 300, 16),
        (2, 10, 700, 16, 16),
        (8, 6, 300, 300, 24),
        (2, 8, 800, 800, 48),
        (2, 8, 400, 400, 128),
    ):
        yield Point(
            "operator",
            "sdpa",
            {"b": b, "heads": heads, "queries": queries, "keys": keys, "width": width},
            quick=b == 1 and queries == 197,
        )
    for b, heads, queries, width in ((1, 12, 512, 64), (8, 12, 128, 64), (8, 8, 64, 32)):
        sizes = {"b": b, "heads": heads, "queries": queries, "keys": queries, "width": width}
        yield Point("operator", "sdpa", {**sizes, "causal": 1})
        yield Point("operator", "sdpa", {**sizes, "mask": 1})


def _moves() -> Iterator[Point]:
    for b, heads, tokens, width in ((1, 12, 197, 64), (8, 12, 128, 64), (8, 8, 512, 64)):
        yield Point("operator", "heads", {"b": b, "heads": heads, "tokens": tokens, "width": width})
    for tokens, table, columns in ((128, 30000, 768), (1024, 30000, 768), (512, 50000, 256)):
        yield Point("operator", "embedding", {"tokens": tokens, "table": table, "columns": columns})


def _cold(cache_bytes: float) -> Iterator[Point]:
    """Weights that no cache kept, as a model's are that is larger than the cache."""
    turn = int(4 * max(cache_bytes, 16 * MIB))
    for n, k in ((768, 768), (3072, 768), (4096, 4096)):
        for m in (1, 8, 64, 256):
            yield Point("operator", "linear", {"m": m, "n": n, "k": k, "cold": turn}, quick=m == 1 and n == 3072)
    for b in (1, 8):
        for channels, filters, side, kernel in (
            (64, 64, 56, 3), (256, 256, 14, 3), (512, 512, 7, 3), (2048, 512, 7, 1), (1024, 256, 14, 1), (128, 512, 28, 1), (96, 576, 14, 1),
        ):  # fmt: skip
            sizes = {"b": b, "channels": channels, "filters": filters, "side": side, "kernel": kernel, "stride": 1}
            yield Point("operator", "conv2d", {**sizes, "cold": turn}, quick=b == 1 and side == 7 and kernel == 3)


def _networks() -> Iterator[Point]:
    """Small networks of no model's sizes: operators as models run them, one after another and each once."""
    for b in (1, 8):
        for channels, side, depth in ((48, 56, 6), (80, 28, 8), (176, 14, 8), (416, 7, 6)):
            sizes = {"b": b, "channels": channels, "side": side, "depth": depth}
            yield Point("operator", "convolutions", sizes, quick=b == 1 and side == 28)
        for channels, side, depth in ((20, 80, 4), (28, 56, 4), (48, 28, 6), (88, 14, 8), (176, 7, 6)):
            sizes = {"b": b, "channels": channels, "side": side, "depth": depth}
            yield Point("operator", "separable", sizes, quick=b == 1 and side == 14)
    for b, tokens, width, depth in (
        (1, 100, 256, 4), (8, 100, 256, 4), (1, 150, 640, 4), (8, 60, 640, 3), (1, 40, 1152, 4), (8, 200, 320, 3), (1, 300, 128, 4),
    ):  # fmt: skip
        sizes = {"b": b, "tokens": tokens, "width": width, "depth": depth}
        yield Point("operator", "attending", sizes, quick=width == 640 and b == 1)
    for b in (1, 8):
        for channels, side, kernel in ((40, 64, 3), (120, 28, 3), (240, 14, 5), (500, 7, 3)):
            yield Point(
                "operator", "filtering", {"b": b, "channels": channels, "side": side, "kernel": kernel, "depth": 8}
            )
        for channels, side in ((48, 40), (160, 14), (500, 7)):
            yield Point("operator", "gated", {"b": b, "channels": channels, "side": side, "depth": 8})
        for channels, side in ((40, 48), (96, 14), (200, 10), (400, 7)):
            yield Point("operator", "pointwise", {"b": b, "channels": channels, "side": side, "depth": 8})
        for channels, side in ((40, 48), (100, 24), (220, 12)):
            yield Point("operator", "branching", {"b": b, "channels": channels, "side": side, "depth": 5})
        for side, width in ((28, 40), (14, 100), (7, 240)):
            yield Point("operator", "token_filters", {"b": b, "side": side, "width": width, "depth": 4})
        for tokens, width in ((60, 300), (200, 160), (700, 96)):
            yield Point("operator", "rowwise_chain", {"b": b, "tokens": tokens, "width": width, "depth": 6})
    back = {"backward": 1}
    for channels, side in ((48, 40), (176, 14)):
        yield Point("operator", "convolutions", {"b": 8, "channels": channels, "side": side, "depth": 4, **back})
    for channels, side in ((24, 56), (88, 14)):
        yield Point("operator", "separable", {"b": 8, "channels": channels, "side": side, "depth": 3, **back})
    for tokens, width in ((100, 256), (60, 640)):
        yield Point("operator", "attending", {"b": 8, "tokens": tokens, "width": width, "depth": 2, **back})


def _gradients() -> Iterator[Point]:
    """Backward passes of single operators, and the optimizer."""
    back = {"backward": 1}
    for m, n, k in (
        (64, 768, 768),
        (512, 768, 3072),
        (1024, 512, 512),
        (1024, 2048, 512),
        (8, 1000, 1280),
        (512, 8000, 256),
    ):
        yield Point("operator", "linear", {"m": m, "n": n, "k": k, **back, "bias": 1})
    for b in (1, 8):
        for channels, filters, side, kernel, stride, groups in (
            (64, 64, 56, 3, 1, 1), (256, 256, 14, 3, 1, 1), (64, 256, 56, 1, 1, 1), (1024, 256, 14, 1, 1, 1), (128, 128, 56, 3, 2, 1),
            (16, 96, 112, 1, 1, 1), (144, 32, 28, 1, 1, 1), (3, 32, 224, 3, 2, 1), (512, 2048, 7, 1, 1, 1), (32, 32, 64, 3, 1, 1),
            (96, 96, 56, 3, 2, 96), (144, 144, 56, 3, 1, 144), (384, 384, 14, 3, 1, 384), (96, 96, 28, 7, 1, 96), (128, 128, 28, 3, 1, 32),
        ):  # fmt: skip
            sizes = {"b": b, "channels": channels, "filters": filters, "side": side, "kernel": kernel, "stride": stride}
            yield Point("operator", "conv2d", {**sizes, "groups": groups, **back})
    for rows, columns in ((512, 768), (2048, 256), (3136, 96)):
        for op in ("layer_norm", "softmax", "rms_norm"):
            yield Point("operator", op, {"rows": rows, "columns": columns, **back})
    for b, channels, side in ((8, 64, 56), (8, 256, 14), (8, 32, 112)):
        for op in ("batch_norm_train", "group_norm", "max_pool", "channelwise", "mean_pool"):
            yield Point("operator", op, {"b": b, "channels": channels, "side": side, **back})
    for op in ("relu", "gelu", "silu", "add", "mul", "tanh"):
        for elements in (16384, 2**20, 2**22):
            yield Point("operator", op, {"elements": elements, **back})
    for b, heads, queries, width in ((8, 8, 128, 64), (1, 12, 512, 64), (8, 3, 197, 64)):
        sizes = {"b": b, "heads": heads, "queries": queries, "keys": queries, "width": width}
        yield Point("operator", "sdpa", {**sizes, **back})
        yield Point("operator", "sdpa", {**sizes, "causal": 1, **back})
    for b, steps, width in ((8, 32, 256), (8, 64, 384)):
        yield Point("operator", "lstm", {"b": b, "steps": steps, "width": width, **back})
    yield Point("operator", "embedding", {"tokens": 1024, "table": 30000, "columns": 256, **back})
    for elements in (2**14, 2**18, 2**20, 2**22):
        yield Point("operator", "dropout", {"elements": elements, "training": 1})
    for tensors, elements in (
        (1, 2**20),
        (1, 2**24),
        (64, 512),
        (32, 2**14),
        (16, 2**18),
        (4, 2**21),
        (3, 2**22),
        (8, 2**16),
    ):
        yield Point("operator", "adamw", {"tensors": tensors, "elements": elements, "training": 1})


def _others() -> Iterator[Point]:
    for columns in (1, 4, 16, 64, 256, 1024):  # bytes side by side: 4 to 4096
        yield Point(
            "operator", "gather", {"rows": 2**16, "table": 2**25 // columns, "columns": columns}, quick=columns == 16
        )
    for b, steps, width in ((1, 32, 128), (8, 32, 256), (1, 64, 512), (1, 16, 256), (8, 64, 384), (32, 16, 128)):
        yield Point("operator", "lstm", {"b": b, "steps": steps, "width": width})
        yield Point("operator", "gru", {"b": b, "steps": steps, "width": width})


def _messages() -> Iterator[Point]:
    for op in ("all_reduce", "all_gather", "send"):
        for size in (4 * KIB, 256 * KIB, 4 * MIB, 64 * MIB):
            yield Point("message", op, {"bytes": size, "ranks": 2}, quick=op == "all_reduce" and size == 4 * MIB)


def _disk() -> Iterator[Point]:
    for op in ("write", "read"):
        yield Point("disk", op, {"bytes": 128 * MIB}, quick=op == "read")
