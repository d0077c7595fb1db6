"""What a trace is given and what it returns; calling a module on fake tensors.

Imports torch, so it is imported only after torch was found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .recorder import Recorder


@dataclass(frozen=True)
class Argument:
    """One tensor argument: its name in the graph, its keyword if it has one, sizes, dtype, whether its channels lie last."""

    name: str
    keyword: str | None
    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool = False


@dataclass(frozen=True)
class Trace:
    """What a trace found.

    Attributes:
        outputs: logical tensors the module returns.
        how: ``export``, ``export-static`` or ``dispatch``.
        static: the batch is fixed at its given size.
    """

    recorder: Recorder
    outputs: tuple[int, ...]
    how: str
    static: bool


LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # images and volumes; other ranks have no such layout


class Untraceable(Exception):
    """No way of tracing worked; carries what each of them raised."""

    def __init__(self, errors: list[BaseException]) -> None:
        super().__init__("the module cannot be traced")
        self.errors = errors


def call(module: nn.Module, keywords: Sequence[str | None], args: Sequence[Any]) -> tuple[torch.Tensor, ...]:
    positional = [a for a, k in zip(args, keywords, strict=True) if k is None]
    named = {k: a for a, k in zip(args, keywords, strict=True) if k is not None}
    return tuple(tensors_in(module(*positional, **named), set()))


def tensors_in(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """Every tensor in tuples, dicts, dataclasses and plain objects (model outputs, caches)."""
    if isinstance(value, torch.Tensor):
        yield value
        return
    if id(value) in seen or isinstance(value, (str, bytes, int, float, complex, type(None), type, nn.Module)):
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        parts: Any = value.values()
    elif isinstance(value, (list, tuple, set)):
        parts = value
    elif dataclasses.is_dataclass(value):
        parts = [getattr(value, f.name, None) for f in dataclasses.fields(value)]
    else:
        parts = list(getattr(value, "__dict__", {}).values())
    for part in parts:
        yield from tensors_in(part, seen)


def fakes(arguments: Sequence[Argument], mode: Any, batch: int | None) -> list[torch.Tensor]:
    """Fake inputs; those led by the batch get ``batch`` instead of it."""
    first = lead(arguments)
    made = []
    with mode:
        for a in arguments:
            shape = (batch, *a.shape[1:]) if batch is not None and a.shape[0] == first else a.shape
            tensor = torch.zeros(shape, dtype=a.dtype)
            if a.channels_last and len(shape) in LAST:
                tensor = tensor.contiguous(memory_format=LAST[len(shape)])
            made.append(tensor)
    return made


def lead(arguments: Sequence[Argument]) -> int:
    return arguments[0].shape[0]


def declare_rest(recorder: Recorder, module: nn.Module) -> None:
    """Name every parameter and buffer, also those nothing reads: they occupy memory all the same."""
    names = owners(module)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        recorder.logicals.declare(parameter, names[name][0], "weight", parameter.requires_grad)
    for name, buffer in module.named_buffers(remove_duplicate=False):
        recorder.logicals.declare(buffer, name, "constant")


def owners(module: nn.Module) -> dict[str, tuple[str, bool]]:
    """Parameter name → (the first name of the same parameter, does it train)."""
    first: dict[int, str] = {}
    found = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        found[name] = (first.setdefault(id(parameter), name), parameter.requires_grad)
    for name, buffer in module.named_buffers(remove_duplicate=False):
        found[name] = (first.setdefault(id(buffer), name), False)
    return found
