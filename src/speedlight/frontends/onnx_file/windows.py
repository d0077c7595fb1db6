"""Output sizes of sliding windows: pooling and convolutions, with ONNX's three ways to state padding."""

from __future__ import annotations

from collections.abc import Sequence

from ..._foundation.errors import BadFile
from .node import Node
from .sizes import Poly, Size, Varies


def window(node: Node, spatial: Sequence[Size], kernel: Sequence[int]) -> tuple[list[Size], list[int]]:
    """(sizes of the result, kernel) of a window that slides over ``spatial``.

    Raises:
        BadFile: where strides, padding or kernel do not fit the tensor.
    """
    rank = len(spatial)
    kernel = list(kernel)
    strides = node.ints("strides") or [1] * rank
    dilations = node.ints("dilations") or [1] * rank
    pads = node.ints("pads") or [0] * (2 * rank)
    if len(kernel) != rank or len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank:
        raise BadFile(
            f"{node.where} slides a window of {len(kernel)} axes over {rank}", expected="one size for each axis"
        )
    if min([*kernel, *strides, *dilations, 1]) < 1:
        raise BadFile(f"{node.where} has a window {kernel} with strides {strides}", expected="sizes of at least 1")
    auto = str(node.attr("auto_pad", "NOTSET"))
    up = bool(node.attr("ceil_mode", 0))
    result: list[Size] = []
    for axis, size in enumerate(spatial):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        if auto.startswith("SAME"):
            result.append((size + (strides[axis] - 1)) // strides[axis])
            continue
        padding = 0 if auto == "VALID" else pads[axis] + pads[rank + axis]
        room = size + padding - reach
        steps = (room + (strides[axis] - 1)) // strides[axis] if up else room // strides[axis]
        count = steps + 1
        if up and not isinstance(size, Poly) and (count - 1) * strides[axis] >= size + pads[axis]:
            count = count - 1  # a window must start inside the tensor or its left padding
        result.append(count)
    return result, kernel


def widened(node: Node, spatial: Sequence[Size], kernel: Sequence[int]) -> list[Size]:
    """Sizes a transposed convolution makes of ``spatial``."""
    rank = len(spatial)
    stated = node.ints("output_shape")
    if stated:
        return list(stated[-rank:])
    strides = node.ints("strides") or [1] * rank
    dilations = node.ints("dilations") or [1] * rank
    pads = node.ints("pads") or [0] * (2 * rank)
    extra = node.ints("output_padding") or [0] * rank
    if any(len(v) < rank for v in (kernel, strides, dilations, extra)) or len(pads) != 2 * rank:
        raise BadFile(
            f"{node.where} slides a window of {len(kernel)} axes over {rank}", expected="one size for each axis"
        )
    if str(node.attr("auto_pad", "NOTSET")).startswith("SAME"):
        return [size * strides[axis] for axis, size in enumerate(spatial)]
    if any(isinstance(s, Poly) for s in spatial):
        raise Varies(f"{node.where} slides along the batch")
    return [
        strides[axis] * (size - 1)
        + extra[axis]
        + dilations[axis] * (kernel[axis] - 1)
        + 1
        - pads[axis]
        - pads[rank + axis]
        for axis, size in enumerate(spatial)
    ]
