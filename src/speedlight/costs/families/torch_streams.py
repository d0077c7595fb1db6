"""Element-wise operations, layer norm and softmax in float32 by eager PyTorch: B rows × H columns through memory once."""

from __future__ import annotations

from ..._foundation.arrays import Value

# Tensors read and written by each operation, and vector FLOPs of one element (an exponential, logarithm, division or
# error function counted as about eight, as in :data:`..price.SOFTWARE_TRANSCENDENTAL`).
OPERATIONS: dict[str, tuple[float, float]] = {
    "add": (3.0, 1.0), "addu": (2.0, 1.0), "mul": (3.0, 1.0), "mulu": (2.0, 1.0), "div": (3.0, 8.0), "divu": (2.0, 1.0),
    "pow": (3.0, 250.0), "powu": (2.0, 250.0), "relu": (2.0, 1.0), "gelu": (2.0, 20.0), "tanh": (2.0, 16.0),
    "ln": (2.0, 8.0), "softmax": (2.0, 12.0),
}  # fmt: skip
NORMS = ("ln", "softmax")


def stream(op: str, rows: Value, columns: Value) -> tuple[Value, Value]:
    """(bytes through memory, vector FLOPs)."""
    tensors, work = OPERATIONS[op]
    elements = rows * columns
    return elements * tensors * 4.0, elements * work
