"""What is run: a module with weights, the tensors it is called with, and one step of it.

Running a model runs its code: the factory the user named and the module's ``forward``. Nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from ..._foundation.errors import BadInput, MissingDependency

WORTH = "running a module"


@dataclass(frozen=True)
class Subject:
    """A module and its arguments.

    Attributes:
        name: of the model.
        module: with weights, on the device, in evaluation or training mode.
        args, kwargs: what it is called with.
        device: PyTorch's name of it; the host's is ``cpu``.
        step: runs it once: a forward pass, or a whole training step.
        kept: tensors that outlive a step: parameters, buffers, the optimizer's states, the arguments.
    """

    name: str
    module: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    device: str
    step: Callable[[], object]
    kept: Callable[[], list[Any]]


@dataclass(frozen=True)
class Recipe:
    """How a module is run, before a step is made of it; what a technique applied for real changes.

    Attributes:
        name: of the model.
        module: with weights, on the device.
        args, kwargs: what it is called with.
        train: a training step, else a forward pass.
        autocast: ``bf16`` or ``fp16`` around the forward pass.
        optimizer: used when training.
        pieces: of the batch that a training step runs one after the other, adding gradients up.
        around: makes a context that each forward pass runs in.
        device: PyTorch's name of where all of it lies.
    """

    name: str
    module: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    train: bool = False
    autocast: str | None = None
    optimizer: str = "adamw"
    pieces: int = 1
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    device: str = "cpu"


def recipe(
    source: str, inputs: Sequence[str] = (), *, train: bool = False, dtype: str | None = None, last: bool = False,
    autocast: str | None = None, optimizer: str = "adamw", device: str = "cpu",
) -> Recipe:  # fmt: skip
    """Build the module with random weights and its arguments with random values.

    Args:
        source: ``file.py:factory``, ``package.module:factory`` or one of timm's names.
        inputs: as ``--input``; one of timm's models needs none.
        last: channels last.
        autocast: ``bf16`` or ``fp16`` around the forward pass.
        optimizer: ``adamw``, ``adam``, ``sgd`` or ``sgd_momentum``; used when training.
        device: PyTorch's name of where it runs.

    Raises:
        BadInput: for code that fails, or a source that is no module.
        MissingDependency: without torch, or timm for its names.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "torch", WORTH) from None
    from ...frontends.torch_export.inputs import TORCH_DTYPES, parse_inputs

    torch.manual_seed(0)
    module, inputs = _module(source, inputs)
    if dtype is not None:
        module = module.to(getattr(torch, TORCH_DTYPES.get(dtype, dtype)))
    if last:
        module = module.to(memory_format=torch.channels_last)
    module = module.to(device).train(train)
    own = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    args, kwargs = [], {}
    for shape in parse_inputs(tuple(inputs)):
        kind = own if shape.dtype is None else getattr(torch, TORCH_DTYPES[shape.dtype])
        value = _values(torch, shape.shape, kind).to(device)
        if last and value.dim() == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        if shape.name is None:
            args.append(value)
        else:
            kwargs[shape.name] = value
    return Recipe(source, module, tuple(args), kwargs, train, autocast, optimizer, device=device)


def made(of: Recipe) -> Subject:
    """One step of a recipe, with an optimizer of its own where it trains.

    Raises:
        BadInput: for an optimizer that is not known.
    """
    import torch

    run = passes(of)
    optimizer: Any = _optimizer(torch, of.optimizer, of.module) if of.train else None

    def training() -> object:
        run()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return None

    def kept() -> list[Any]:
        states = (
            [] if optimizer is None else [t for s in optimizer.state.values() for t in s.values() if torch.is_tensor(t)]
        )
        module, held = of.module, (*of.args, *of.kwargs.values())
        return [*module.parameters(), *module.buffers(), *_packed(module), *states, *held]

    return Subject(of.name, of.module, of.args, dict(of.kwargs), of.device, training if of.train else run, kept)


def passes(of: Recipe) -> Callable[[], object]:
    """What a step runs ahead of its optimizer: the forward pass, and in training the backward pass, after which gradients lie in the
    parameters."""
    import torch

    from ...frontends.torch_export.inputs import TORCH_DTYPES

    args, kwargs = of.args, dict(of.kwargs)
    cast = None if of.autocast is None else getattr(torch, TORCH_DTYPES[of.autocast])
    pieces = [(args, kwargs)] if of.pieces == 1 else _pieces(torch, args, kwargs, of.pieces)

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        with nullcontext() if cast is None else torch.autocast(torch.device(of.device).type, dtype=cast), of.around():
            return of.module(*args, **kwargs)

    def forward() -> object:
        with torch.inference_mode():
            return call(args, kwargs)

    def both() -> object:
        for some, named in pieces:
            loss = sum(t.float().mean() for t in floats(call(some, named))) / len(pieces)
            loss.backward()
        return None

    return both if of.train else forward


def _packed(module: Any) -> list[Any]:
    """Weights that quantised layers hold outside of their parameters."""
    return [
        part.weight()
        for part in module.modules()
        if hasattr(part, "_packed_params") and callable(getattr(part, "weight", None))
    ]


def _pieces(torch: Any, args: tuple[Any, ...], kwargs: dict[str, Any], count: int) -> list[tuple[Any, Any]]:
    """The batch in equal pieces, one set of arguments each."""

    def part(value: Any, index: int) -> Any:
        return value.chunk(count)[index] if torch.is_tensor(value) and value.dim() else value

    return [(tuple(part(a, i) for a in args), {k: part(v, i) for k, v in kwargs.items()}) for i in range(count)]


def _module(source: str, inputs: Sequence[str]) -> tuple[Any, Sequence[str]]:
    if ":" in source:
        from ...frontends.torch_export.source import find

        found = find(source)
        import torch

        try:
            module = found if isinstance(found, torch.nn.Module) else found()
        except Exception as error:
            raise BadInput(
                f"{source} failed: {type(error).__name__}: {str(error)[:200]}", expected="an nn.Module"
            ) from error
        if not isinstance(module, torch.nn.Module):
            raise BadInput(f"{source} returned a {type(module).__name__}", expected="an nn.Module")
        return module, inputs
    from ...frontends.carried import find as carried

    known = carried(source)
    if known is None:
        raise BadInput(
            f"{source!r} cannot be run", expected="file.py:factory, package.module:factory or one of timm's names"
        )
    from ...frontends.torch_export.timm_models import timm

    size = "x".join(map(str, (1, *known.size)))
    return timm().create_model(known.name, pretrained=False), inputs or (size,)


def _values(torch: Any, shape: Sequence[int], dtype: Any) -> Any:
    """Random numbers; whole ones are 0 or 1, which every table of an embedding has."""
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(*shape).to(dtype)
    return torch.randint(0, 2, tuple(shape)).to(dtype)


def floats(out: Any, *, grad: bool = True) -> list[Any]:
    """Tensors of numbers in an output, in its order.

    Args:
        grad: only those that a gradient flows from.
    """
    import torch

    if torch.is_tensor(out):
        return [out] if out.is_floating_point() and (out.requires_grad or not grad) else []
    if isinstance(out, dict):
        out = list(out.values())
    elif not isinstance(out, (list, tuple)):
        out = list(vars(out).values()) if hasattr(out, "__dict__") else []
    return [t for part in out for t in floats(part, grad=grad)]


def _optimizer(torch: Any, name: str, module: Any) -> Any:
    makers = {
        "adamw": lambda p: torch.optim.AdamW(p), "adam": lambda p: torch.optim.Adam(p), "sgd": lambda p: torch.optim.SGD(p, 1e-3),
        "sgd_momentum": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9),
    }  # fmt: skip
    if name not in makers:
        raise BadInput(f"the optimizer {name!r} cannot be run here", expected="one of " + ", ".join(makers))
    return makers[name]([p for p in module.parameters() if p.requires_grad])
