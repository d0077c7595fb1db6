"""What a module's own code does about number formats: conversions it calls, regions it turns off.

Imports torch, so it is imported only after torch was found.

In fp32 ``x.float()`` and ``y.to(x.dtype)`` do nothing and reach no kernel, so a capture in fp32 does not see them; in mixed
precision they decide which format a tensor has. What each of them converts to there is found by calling the module once more
inside a region of ``torch.autocast`` (:func:`in_region`), on fake CUDA tensors: PyTorch's own autocast runs, no GPU is needed.
Code that indexes tensors needs a PyTorch with CUDA even so; without one it is called inside a region for CPUs, whose lists are
others but whose products are in the low format too.
The n-th conversion that a module calls is the same one in both calls; where a module calls more of them in one than in the
other (code that asks whether it is inside a region), nothing is said of it.

Roads not taken: capturing in the region alone (its casts are those of one version of PyTorch's lists; a stack carries its own,
:mod:`~speedlight.graph.rewrite.autocast`); telling ``.float()`` from ``.to(x.dtype)`` by the call (a format has no owner).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from .arguments import Argument, Trace, call, lead
from .recorder import Spoken

METHODS = ("to", "float", "half", "bfloat16", "double", "type", "type_as")
LOW = torch.float16  # the region's format: which of the low ones does not matter
LARGE = 67_108_859  # a batch that no other dimension equals; see :mod:`.probed`


@dataclass
class Heard:
    """Conversions called, and functions that ran while a region was turned off.

    Attributes:
        path: the module under way.
        targets: what each conversion that a module calls makes, ``""`` where it does nothing.
        ran: (module, ATen function) → whether any of its calls ran inside the region.
        on: the region is.
    """

    path: str = ""
    targets: dict[str, list[str]] = field(default_factory=dict)
    ran: dict[tuple[str, str], bool] = field(default_factory=dict)
    on: bool = True

    @property
    def off(self) -> frozenset[str | tuple[str, str]]:
        """What runs with the region turned off, always: functions of modules, and modules as a whole."""
        outside = {key for key, inside in self.ran.items() if not inside}
        within = {path for path, _ in self.ran.keys() - outside}
        return frozenset(outside) | {path for path, _ in outside if path not in within}


def as_spoken(run: Callable[[Spoken], Trace], module: nn.Module, arguments: Sequence[Argument]) -> Trace:
    """A trace that says what the module does about formats in mixed precision; most modules do nothing, and are traced once.

    Args:
        run: traces the module, given what it says.
    """
    found = run(Spoken())
    recorder = found.recorder
    if not recorder.called and not recorder.regions:
        return found
    heard = _heard(module, arguments)
    if heard is None:
        return found
    targets = {
        path: tuple(said) for path, said in heard.targets.items() if any(said) and len(said) == recorder.called[path]
    }
    return run(Spoken(targets, heard.off)) if targets or heard.off else found


def _heard(module: nn.Module, arguments: Sequence[Argument]) -> Heard | None:
    """What the module says; None for code that stops on fake tensors: the capture in fp32 stands as it is."""
    for device in ("cuda", "cpu"):
        try:
            return in_region(module, arguments, device)
        except Exception:  # whatever a user's module raises
            continue
    return None


@contextmanager
def listening(
    called: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], entered: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Calls ``called`` with argument and result of every conversion among floating-point formats; what it returns stands for
    the call's result. Those that PyTorch's own Python calls (shapes worked out without kernels) are no module's.

    Args:
        entered: called where a region of autocast opens, or is turned off.
    """

    def heard(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            caller = str(sys._getframe(1).f_globals.get("__name__", ""))
            if caller == "torch" or caller.startswith("torch.") or not isinstance(result, torch.Tensor):
                return result
            return called(self, result) if self.is_floating_point() and result.is_floating_point() else result

        return run

    tensor: Any = torch.Tensor
    region: Any = torch.autocast
    enter = region.__enter__

    def entering(self: Any) -> Any:
        entered()
        return enter(self)

    for name in METHODS:
        setattr(tensor, name, heard(getattr(tensor, name)))
    region.__enter__ = entering
    try:
        yield
    finally:
        region.__enter__ = enter
        for name in METHODS:
            delattr(tensor, name)


def in_region(module: nn.Module, arguments: Sequence[Argument], device: str = "cuda") -> Heard:
    """Call the module inside an autocast region of a device and listen.

    Raises:
        Exception: whatever the module raises on fake tensors of the device.
    """
    heard = Heard()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    first = lead(arguments)

    def called(source: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
        target = {torch.float32: "fp32", LOW: "low"}.get(result.dtype, "") if source.dtype != result.dtype else ""
        heard.targets.setdefault(heard.path, []).append(target)
        return result

    with ExitStack() as stack:
        for name, part in module.named_modules():
            for hook in follow(part, name, heard):
                stack.callback(hook.remove)
        stack.enter_context(_placed(module, mode, device))
        with mode:
            inputs = [
                torch.empty((LARGE, *a.shape[1:]) if a.shape[0] == first else a.shape, dtype=a.dtype, device=device)
                for a in arguments
            ]
        stack.enter_context(torch.no_grad())
        stack.enter_context(_region(heard, device))
        stack.enter_context(listening(called))
        stack.enter_context(mode)
        stack.enter_context(_Ran(heard))
        call(module, [a.keyword for a in arguments], inputs)
    return heard


class _Ran(TorchDispatchMode):  # type: ignore[misc]
    """Notes which functions run with the region turned off."""

    def __init__(self, heard: Heard) -> None:
        super().__init__()
        self.heard = heard

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func._schema.name != "aten::_to_copy":
            key = (self.heard.path, func._schema.name)
            self.heard.ran[key] = self.heard.ran.get(key, False) or self.heard.on
        return func(*args, **(kwargs or {}))


@contextmanager
def _region(heard: Heard, device: str) -> Iterator[None]:
    """A region, for CUDA on a machine without it too, where ``torch.autocast`` would refuse to open one."""
    cuda: Any = torch.cuda.amp.common
    functional: Any = nn.functional
    original: Any = torch.autocast
    absent, attention = cuda.amp_definitely_not_available, functional.scaled_dot_product_attention
    enter, leave = original.__enter__, original.__exit__

    def told(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            result = function(*args)
            heard.on = torch.is_autocast_enabled(device)
            return result

        return run

    def attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """In the region's format; PyTorch would ask the device which kernels it has."""
        shape = (*query.shape[:-1], value.shape[-1])
        return torch.empty(shape, dtype=LOW if heard.on else query.dtype, device=device)

    cuda.amp_definitely_not_available = lambda: False
    functional.scaled_dot_product_attention = attended
    original.__enter__, original.__exit__ = told(enter), told(leave)
    try:
        with torch.autocast(device, dtype=LOW, cache_enabled=False):
            yield
    finally:
        original.__enter__, original.__exit__ = enter, leave
        functional.scaled_dot_product_attention = attention
        cuda.amp_definitely_not_available = absent


class _Under(Protocol):
    """Who keeps account of the module under way."""

    path: str


def follow(part: nn.Module, name: str, whose: _Under) -> list[Any]:
    """Hooks that keep ``whose.path`` at the innermost module under way."""
    outer: list[str] = []

    def enter(*_: Any) -> None:
        outer.append(whose.path)
        whose.path = name

    def leave(*_: Any) -> None:
        whose.path = outer.pop() if outer else ""

    return [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]


@contextmanager
def _placed(module: nn.Module, mode: Any, device: str) -> Iterator[None]:
    """Parameters and buffers as fake tensors of a device, while open."""
    made: dict[int, torch.Tensor] = {}
    kept: list[tuple[Any, str, Any]] = []

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            with mode:
                empty: torch.Tensor = torch.empty_strided(
                    tensor.size(), tensor.stride(), dtype=tensor.dtype, device=device
                )
            made[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
        return made[id(tensor)]

    try:
        for part in module.modules():
            for table in (part._parameters, part._buffers):
                for name, tensor in table.items():
                    if tensor is not None:
                        kept.append((table, name, tensor))
                        table[name] = fake(tensor)
        yield
    finally:
        for table, name, tensor in kept:
            table[name] = tensor
