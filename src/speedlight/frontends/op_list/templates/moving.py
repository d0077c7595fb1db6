"""Moving data: gathers and scatters, copies between memories, streaming arithmetic."""

from __future__ import annotations

from ...._foundation.expr import Expr
from ....graph.ir import Operand
from ..site import Site, scattered, streamed, vector
from .template import number_format, size, template, tensor, word


@template(
    "moving", rows=size("rows taken"), width=size("elements of a row, side by side", 1), among=size("rows there are"),
    dtype=number_format("of the elements"), index=number_format("the row numbers", "int32"),
    path=word("how rows of a table in the host's memory come", "copied", "zero-copy", "demand-paged"), table=tensor("the rows"),
)  # fmt: skip
def gather(
    site: Site, rows: Expr, width: Expr, among: Expr, dtype: str, index: str, path: str, table: str | None
) -> None:  # fmt: skip
    """out[i] = table[index[i]]: each row is one access at random; no arithmetic. Hennessy and Patterson, Computer Architecture, §4.2."""
    source = site.source(table, "table", among * width, dtype)
    numbers = site.source(None, "index", rows, index)
    site.op("gather", "gather", reads=[numbers, scattered(source, rows * width, width, path)],
            writes=[site.result(rows * width, dtype)], dims={"rows": rows, "width": width})  # fmt: skip


@template(
    "moving", rows=size("rows written"), width=size("elements of a row, side by side", 1), among=size("rows there are"),
    add=word("whether rows are added to what is there", "no", "yes"), dtype=number_format("of the elements"),
    index=number_format("the row numbers", "int32"), x=tensor("the rows written"),
)  # fmt: skip
def scatter(
    site: Site, rows: Expr, width: Expr, among: Expr, add: str, dtype: str, index: str, x: str | None
) -> None:  # fmt: skip
    """table[index[i]] = x[i], or += : each row is one access at random, two where it is added to.

    Hennessy and Patterson, Computer Architecture, §4.2.
    """
    source = site.source(x, "x", rows * width, dtype)
    numbers = site.source(None, "index", rows, index)
    target = site.result(among * width, dtype, cls="input")
    reads: list[str | Operand] = [numbers, streamed(source, rows * width)]
    if add == "yes":
        reads.append(scattered(target, rows * width, width))
    site.op("gather", "scatter", reads=reads, writes=[scattered(target, rows * width, width)],
            work=[vector(rows * width)] if add == "yes" else [], dims={"rows": rows, "width": width})  # fmt: skip


@template("moving", elements=size("copied"), dtype=number_format("of the elements"), x=tensor("what is copied"))
def copy(site: Site, elements: Expr, dtype: str, x: str | None) -> None:
    """Read everything once, write it once (McCalpin's STREAM Copy)."""
    source = site.source(x, "x", elements, dtype)
    site.op("copy", "copy", reads=[streamed(source, elements)], writes=[site.result(elements, dtype)])


@template(
    "moving",
    elements=size("copied"),
    dtype=number_format("of the elements"),
    x=tensor("what is copied, in the host's memory"),
)
def host_to_device(site: Site, elements: Expr, dtype: str, x: str | None) -> None:
    """From the host's memory over its link into the device's: bytes over each of the three, the slowest sets the time.

    NVIDIA, CUDA C++ Best Practices Guide, §10.1 (Data transfer between host and device).
    """
    source = site.source(x, "x", elements, dtype, "input", "host")
    site.op("copy", "host_to_device", reads=[streamed(source, elements)], writes=[site.result(elements, dtype)])


@template("moving", elements=size("copied"), dtype=number_format("of the elements"), x=tensor("what is copied"))
def device_to_host(site: Site, elements: Expr, dtype: str, x: str | None) -> None:
    """From the device's memory over the link into the host's. NVIDIA, CUDA C++ Best Practices Guide, §10.1."""
    source = site.source(x, "x", elements, dtype)
    target = site.source(None, "landed", elements, dtype, "input", "host")
    site.op("copy", "device_to_host", reads=[streamed(source, elements)], writes=[target])


@template(
    "moving", elements=size("of the result"), inputs=size("tensors of that size read", 1), flops=size("operations an element", 1),
    dtype=number_format("of all"), x=tensor("the first input"),
)  # fmt: skip
def elementwise(site: Site, elements: Expr, inputs: Expr, flops: Expr, dtype: str, x: str | None) -> None:
    """One result from each place of the inputs (McCalpin's STREAM Triad has 2 inputs and 2 operations)."""
    source = site.source(x, "x", elements, dtype)
    reads = [streamed(source, elements)]
    if inputs.constant != 1:
        reads.append(streamed(site.source(None, "others", (inputs - 1) * elements, dtype), (inputs - 1) * elements))
    site.op(
        "elementwise",
        "elementwise",
        reads=reads,
        writes=[site.result(elements, dtype)],
        work=[vector(elements * flops)],
    )


@template(
    "moving", rows=size("results"), width=size("elements of each"), flops=size("operations an element", 1),
    dtype=number_format("of all"), x=tensor("the input"),
)  # fmt: skip
def reduction(site: Site, rows: Expr, width: Expr, flops: Expr, dtype: str, x: str | None) -> None:
    """One result from each row: width − 1 combinations, taken as width. Blelloch, Prefix sums and their applications, 1990."""
    source = site.source(x, "x", rows * width, dtype)
    site.op("reduction", "reduction", reads=[streamed(source, rows * width)], writes=[site.result(rows, dtype)],
            work=[vector(rows * width * flops)], dims={"rows": rows, "width": width})  # fmt: skip


@template(
    "moving", rows=size("rows"), width=size("elements of a row"), fn=word("", "softmax", "layer_norm", "rms_norm"),
    dtype=number_format("of all"), x=tensor("the input"),
)  # fmt: skip
def normalize_rows(site: Site, rows: Expr, width: Expr, fn: str, dtype: str, x: str | None) -> None:
    """A softmax or a norm of each row, on one read and one write: 5, 8 or 4 operations an element.

    Milakov and Gimelshein, Online normalizer calculation for softmax, arXiv 1805.02867; Ba et al., arXiv 1607.06450.
    """
    each = {"softmax": 5, "layer_norm": 8, "rms_norm": 4}[fn]
    source = site.source(x, "x", rows * width, dtype)
    site.op("softmax" if fn == "softmax" else "norm", fn, reads=[streamed(source, rows * width)],
            writes=[site.result(rows * width, dtype)], work=[vector(each * rows * width)],
            dims={"rows": rows, "width": width})  # fmt: skip
