"""Inf-CL: a contrastive loss without its matrix.

Similarities of B images and B texts are B² numbers; in tiles of a ring only each rank's features and running sums stay, linear in B.
What stays bounds the batch by memory; that real runs stop earlier is time, and the images themselves.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

WIDTH = 768  # of CLIP ViT-L/14's joint space (its text width and projection)
# Bytes of a row a rank keeps: image and text features, their gradients, and the ring's copy on its way, in fp32.
KEPT = 2 * WIDTH * 4 * 3
PIXELS = 3 * 224 * 224


def _largest(bench: Bench, gpus: int) -> Finding:
    stated = bench.stated(machine="a800-sxm-80gb", model="clip-vit-l-14")
    bench.given("devices", gpus)
    machine = bench.machine(stated["machine"])
    spans = []
    for pixel in bench.unstated(
        "bytes a pixel of images on the device", (0, 1), "images stay on the host, or lie there as bytes"
    ):
        for share in bench.unstated(
            "share of memory for rows", (0.4, 0.8), "the model, its optimizer and a chunk's activations take the rest"
        ):
            rows = machine.main.capacity_bytes * share / (KEPT + pixel * PIXELS)
            spans.append(exactly(bench.size(gpus * float(rows))))
    return over(
        spans,
        "rows whose features, gradients and ring buffers fit the GPUs: no term in batch² is left. Runs stop where a step takes too long, not here",
    )


@derives("breaking-the-memory-barrier#1")
def eight(bench: Bench) -> Finding:
    """Batch on 8 GPUs."""
    return _largest(bench, 8)


@derives("breaking-the-memory-barrier#2")
def thirty_two(bench: Bench) -> Finding:
    """Batch on 32 GPUs."""
    return _largest(bench, 32)


@derives("breaking-the-memory-barrier#3")
def reduction(bench: Bench) -> Finding:
    """Bytes of the loss, with its matrix over without."""
    bench.given("devices", 8)
    spans = []
    for batch in bench.unstated("batch", (2**17, 2**18, 2**19), "where the matrix of a rank is most of the memory"):
        rows = batch / 8
        matrix = 2 * rows * batch * 4  # of both directions, in fp32, on a rank whose loss is local
        spans.append(exactly(bench.size(matrix / (rows * KEPT))))
    low, high = min(s.low for s in spans), max(s.high for s in spans)
    return over(
        [Span(low, spans[1].value, high, high)],
        "a rank's rows of the matrix in both directions against features, gradients and ring buffers",
    )
