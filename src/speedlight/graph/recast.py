"""A captured fp32 graph in another number format, as ``module.to(dtype)`` before the capture would have made it."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from .._foundation.errors import BadInput
from .._foundation.formats import number_format
from .ir import Block, Graph, Tensor
from .rewrite.autocast import LOW, promoted
from .rewrite.conversions import speaks

FORMATS = ("fp64", "fp32", "fp16", "bf16")


@lru_cache(maxsize=64)
def recast(graph: Graph, dtype: str) -> Graph:
    """The graph with its own floating-point format replaced.

    Weights, activations and the multiplications of matmul units follow; so do inputs. Vector work stays as it is stated,
    in fp32, which is what kernels compute in. A conversion that the module's code calls (``x.float()``), free in fp32, is an op in
    another format, and what it makes stays in its format.

    Raises:
        BadInput: for formats PyTorch cannot convert a module to.
    """
    wanted = number_format(dtype).name
    if wanted not in FORMATS:
        raise BadInput(f"a module cannot be converted to {wanted}", expected="fp64, fp32, fp16 or bf16")
    own = str(graph.attrs.get("dtype", "fp32"))
    if wanted == own:
        return graph

    def tensor(t: Tensor) -> Tensor:
        return dataclasses.replace(t, dtype=wanted) if t.dtype == own else t

    def block(b: Block) -> Block:
        ops = tuple(
            dataclasses.replace(
                op,
                work=tuple(
                    dataclasses.replace(w, format=wanted) if w.unit == "matmul" and w.format == own else w
                    for w in op.work
                ),
            )
            for op in b.ops
        )
        return dataclasses.replace(b, ops=ops, tensors={n: tensor(t) for n, t in b.tensors.items()})

    made = graph.replace(
        blocks=tuple(block(b) for b in graph.blocks),
        shared={n: tensor(t) for n, t in graph.shared.items()},
        attrs={**graph.attrs, "dtype": wanted},
    )
    return promoted(made, wanted) if wanted in LOW and speaks(made) else made
