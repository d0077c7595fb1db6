"""Any ``nn.Module`` → graph: built without memory for its weights, traced on fake tensors, folded where it repeats.

:func:`capture` is the only door. Only it decides whether torch is needed: importing this package imports no torch.

::

    source.py    file.py:factory → module (runs the user's code)     building.py   … without allocating weights
    inputs.py    1x3x224x224:fp32 → shapes                           trace.py      torch.export, else the dispatcher
    recorder.py  calls → logical tensors and operands                shapes.py     symbolic sizes → expressions
    aten.py, products.py   what each ATen call computes (no torch)    calls.py      how they see a call
    assemble.py  ops → graph                                          fold.py       equal layers → one block
    reasons.py   exceptions → one sentence
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..._foundation.errors import BadInput, MissingDependency
from ..._foundation.formats import number_format
from ...graph.grammar import check
from ...graph.ir import Graph
from .fold import fold
from .inputs import TORCH_DTYPES, InputShape, parse_inputs


def capture(
    source: Any, inputs: Sequence[str], *, dtype: str | None = None, train: bool = False, dynamic_batch: bool = True,
    channels_last: bool = False, quick: bool = False,
) -> Graph:  # fmt: skip
    """The graph of a PyTorch module's forward pass.

    Runs the code the source names, because the user named it: the module's constructor and its ``forward`` on tensors
    without data. Nothing else of it runs, and no weights are allocated (a 7B model takes seconds and some 100 MB).

    Args:
        source: ``file.py:factory``, ``package.module:factory`` (a function without arguments, a class or a module), or
            a live ``nn.Module``, which is left as it was, or a function that returns one.
        inputs: one ``1x3x224x224[:dtype]`` for each tensor ``forward`` takes, batch first; ``name=1x128`` for a keyword.
        dtype: number format the module is converted to (floating-point inputs follow); its own by default.
        train: trace in training mode: dropout drops, batch norm computes statistics. For backward passes and optimizers
            see :mod:`speedlight.graph.backward`.
        channels_last: weights and inputs of four or five dimensions lie with their channels last, as after
            ``.to(memory_format=torch.channels_last)``; every op's ``orders`` then say what came of it.
        dynamic_batch: keep the leading dimension of the inputs free (the symbol ``batch``).
        quick: call the module itself before trying ``torch.export``, see :func:`~.trace.trace`.

    Returns:
        a checked graph. ``symbols["batch"]`` is the given batch; ``attrs["static"]`` is ``("batch",)`` where the module
        holds at that size only, else ``()``; ``attrs["unknown_ops"]`` names calls the op table does not describe;
        ``attrs["capture"]`` is ``export``, ``export-static`` or ``dispatch``.

    Raises:
        BadInput: for code that fails, inputs that do not fit, and modules whose control flow depends on data.
        MissingDependency: without torch.
    """
    shapes = parse_inputs(inputs)
    number = _dtype(dtype)
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "torch", "capturing a PyTorch module") from None
    from .source import build, find

    name = source if isinstance(source, str) else getattr(source, "__name__", type(source).__name__)
    module = build(find(source) if isinstance(source, str) else source, name)
    if number is not None:
        module = module.to(getattr(torch, TORCH_DTYPES[number]))
    if channels_last:
        module = _laid_out(module, name)
    return _graph(module, shapes, name, train, dynamic_batch, channels_last, quick)


def _laid_out(module: Any, name: str) -> Any:
    """The module after ``.to(memory_format=torch.channels_last)``, of volumes ``channels_last_3d``."""
    import torch

    for rank, layout in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if any(p.dim() == rank for p in module.parameters()):
            try:
                module = module.to(memory_format=layout)
            except RuntimeError as error:
                raise BadInput(
                    f"{name} cannot be put channels last: {error}",
                    expected="images or volumes, not both",
                    hint="leave --layout out",
                ) from None
    return module


def _dtype(dtype: str | None) -> str | None:
    if dtype is None:
        return None
    number = number_format(dtype)
    if number.name not in ("fp64", "fp32", "fp16", "bf16"):
        raise BadInput(f"a module cannot be converted to {number.name}", expected="fp64, fp32, fp16 or bf16")
    return number.name


def _graph(
    module: Any,
    shapes: Sequence[InputShape],
    name: str,
    train: bool,
    dynamic: bool,
    channels_last: bool,
    quick: bool = False,
) -> Graph:
    import torch

    from .assemble import assemble
    from .logical import DTYPES
    from .reasons import refusal
    from .trace import Argument, Untraceable, trace

    floating = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    arguments = [
        Argument(label, s.name, s.shape, getattr(torch, TORCH_DTYPES[s.dtype]) if s.dtype else floating, channels_last)
        for label, s in zip(_labels(module, shapes), shapes, strict=True)
    ]
    try:
        found = trace(module, arguments, train=train, dynamic=dynamic, quick=quick)
    except Untraceable as failure:
        raise refusal(name, failure.errors, _signature(module)) from failure.errors[-1]
    if not found.outputs and not found.recorder.ops:
        raise BadInput(f"{name} computes nothing from these inputs", expected="a forward that returns tensors")
    leaves = {path for path, part in module.named_modules() if path and next(part.children(), None) is None}
    attrs = {
        "family": type(module).__name__, "kind": "module", "unknown_ops": tuple(found.recorder.unknown),
        "assumptions": (), "dtype": DTYPES.get(floating, "fp32"), "capture": found.how, "train": train,
        "layout": "channels_last" if channels_last else "contiguous",
        "static": ("batch",) if found.static else (), "inputs": tuple((a.name, a.shape) for a in arguments),
    }  # fmt: skip
    flat = assemble(name, found.recorder, found.outputs, leaves, {"batch": shapes[0].shape[0]}, attrs)
    return check(fold(check(flat)))


def _labels(module: Any, shapes: Sequence[InputShape]) -> list[str]:
    """Graph names of the inputs: ``forward``'s parameter names, unless a weight is called so."""
    import inspect

    try:
        parameters = [
            p.name for p in inspect.signature(module.forward).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]  # fmt: skip
    except (TypeError, ValueError):
        parameters = []
    labels: list[str] = []
    for position, shape in enumerate(shapes):
        wanted = shape.name or (parameters[position] if position < len(parameters) else f"input_{position}")
        labels.append(f"input.{wanted}")
    return labels


def _signature(module: Any) -> str:
    import inspect

    try:
        text = str(inspect.signature(module.forward))
    except (TypeError, ValueError):
        return "(…)"
    return text if len(text) < 120 else text[:117] + "…)"


__all__ = ["InputShape", "capture", "parse_inputs"]
