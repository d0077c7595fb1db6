"""Points of a device that computes beside the host: sizes that fill it, and the formats its matrix units are for.

They join those of :mod:`.plan`, which are small for a GPU and tell what a small operator costs on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from .operators import FP8
from .point import KIB, MIB, Point

LAYERS = (
    (4096, 4096), (6144, 4096), (4096, 14336), (28672, 4096), (1280, 8192), (8192, 3584), (8192, 8192), (7168, 2048), (2048, 768),
)  # fmt: skip
TOKENS = (1, 8, 32, 128, 512, 2048, 8192)
DENSE = (
    (3, 64, 224, 7, 2), (64, 64, 56, 1, 1), (64, 64, 56, 3, 1), (64, 256, 56, 1, 1), (256, 128, 56, 1, 1), (128, 128, 56, 3, 2),
    (128, 128, 28, 3, 1), (256, 256, 14, 3, 1), (1024, 256, 14, 1, 1), (512, 512, 7, 3, 1), (512, 2048, 7, 1, 1), (2048, 512, 7, 1, 1),
    (3, 32, 224, 3, 2), (32, 16, 112, 1, 1), (16, 96, 112, 1, 1), (96, 24, 56, 1, 1), (144, 32, 28, 1, 1), (3, 96, 224, 4, 4),
    (480, 112, 14, 1, 1), (160, 960, 7, 1, 1), (256, 512, 28, 1, 2), (3, 384, 224, 16, 16), (96, 192, 56, 2, 2), (320, 320, 32, 3, 1),
)  # fmt: skip
DEPTHWISE = (
    (32, 112, 3, 1), (96, 112, 3, 2), (144, 56, 3, 1), (192, 28, 3, 2), (384, 14, 3, 1), (960, 7, 3, 1), (96, 56, 7, 1), (384, 14, 7, 1),
    (768, 7, 7, 1), (240, 14, 5, 1), (72, 28, 5, 2), (192, 28, 7, 1),
)  # fmt: skip


def accelerator_points(formats: tuple[str, ...]) -> Iterator[Point]:
    """Everything beyond :func:`.plan.points`.

    Args:
        formats: that are multiplied at about fp32's rate or faster; 16-bit ones among them are what large sizes are run in.
    """
    narrow = [f for f in formats if f != "fp32"]
    yield from _memory()
    yield from _products(narrow)
    if narrow:
        yield from _attention(narrow[0])
        yield from _images("fp16" if "fp16" in narrow else narrow[0])
        yield from _rows(narrow[0])
    yield from _transfers()


def _memory() -> Iterator[Point]:
    """Bandwidth by working set: from a part of the last cache to far beyond it."""
    for op in ("copy", "add"):
        for power in range(18, 29):
            yield Point("operator", op, {"elements": 2**power}, quick=op == "copy" and power in (22, 28))
    for power in range(20, 29, 2):
        yield Point("operator", "sum", {"rows": 2**10, "columns": 2 ** (power - 10)})


def _products(formats: list[str]) -> Iterator[Point]:
    for form in formats:
        for size in (8192, 16384):
            yield Point("operator", "mm", {"m": size, "n": size, "k": size, "format": form}, quick=size == 8192)
    for form, (n, k), m in itertools.product(formats[:1], LAYERS, TOKENS):
        yield Point("operator", "linear", {"m": m, "n": n, "k": k, "format": form}, quick=n == 6144 and m in (8, 2048))
    for (n, k), m in itertools.product(LAYERS[:4], (16, 128, 1024, 8192)):
        yield Point("operator", FP8, {"m": m, "n": n, "k": k})
    yield Point("operator", FP8, {"m": 8192, "n": 8192, "k": 8192})


def _attention(form: str) -> Iterator[Point]:
    for b, heads, queries, keys, width, causal in (
        (1, 32, 2048, 2048, 128, 1), (1, 32, 8192, 8192, 128, 1), (4, 32, 1024, 1024, 128, 1), (8, 16, 512, 512, 64, 0), (16, 12, 197, 197, 64, 0),
        (64, 12, 197, 197, 64, 0), (2, 16, 4096, 4096, 64, 0), (2, 10, 1024, 1024, 64, 0), (8, 12, 512, 512, 64, 1), (32, 32, 1, 1024, 128, 0),
        (8, 32, 1, 4096, 128, 0), (64, 32, 1, 512, 128, 0), (1, 32, 1, 16384, 128, 0), (256, 6, 49, 49, 32, 0),
    ):  # fmt: skip
        sizes = {"b": b, "heads": heads, "queries": queries, "keys": keys, "width": width, "format": form}
        yield Point("operator", "sdpa", {**sizes, **({"causal": 1} if causal else {})}, quick=queries == 2048)
        if queries > 1 and keys <= 2048:
            yield Point("operator", "sdpa", {**sizes, **({"causal": 1} if causal else {}), "backward": 1})


def _images(form: str) -> Iterator[Point]:
    """Convolutions of large batches, channels last as the matrix units want them."""
    for channels, filters, side, kernel, stride in DENSE:
        sizes = {
            "b": 128,
            "channels": channels,
            "filters": filters,
            "side": side,
            "kernel": kernel,
            "stride": stride,
            "last": 1,
            "format": form,
        }
        yield Point("operator", "conv2d", sizes, quick=(channels, kernel) == (256, 3))
        yield Point("operator", "conv2d", {**sizes, "backward": 1})
    for channels, side, kernel, stride in DEPTHWISE:
        sizes = {"b": 128, "channels": channels, "filters": channels, "side": side, "kernel": kernel, "stride": stride}
        sizes |= {"groups": channels, "last": 1}
        yield Point("operator", "conv2d", {**sizes, "format": form})
        yield Point("operator", "conv2d", {**sizes, "format": form, "backward": 1})
    for channels, side in ((64, 112), (64, 56), (256, 56), (512, 28), (1024, 14), (2048, 7)):
        for op in ("batch_norm", "batch_norm_train", "max_pool", "mean_pool"):
            yield Point("operator", op, {"b": 64, "channels": channels, "side": side, "format": form})


def _rows(form: str) -> Iterator[Point]:
    for op in ("layer_norm", "rms_norm", "softmax"):
        for rows, columns in ((64, 4096), (2048, 4096), (8192, 4096), (16384, 8192), (25088, 768), (65536, 256)):
            yield Point("operator", op, {"rows": rows, "columns": columns, "format": form})
    for op in ("add", "gelu", "silu", "mul"):
        for power in (16, 20, 23, 26):
            yield Point("operator", op, {"elements": 2**power, "format": form})


def _transfers() -> Iterator[Point]:
    """Between host and device, from pageable and from pinned memory."""
    for pinned in (0, 1):
        for direction in ("to", "from"):
            for size in (4 * KIB, 256 * KIB, 16 * MIB, 256 * MIB):
                yield Point(
                    "transfer", direction, {"bytes": size, "pinned": pinned}, quick=pinned == 1 and size == 16 * MIB
                )


__all__ = ["accelerator_points"]
