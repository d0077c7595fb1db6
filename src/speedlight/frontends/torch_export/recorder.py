"""Watches ATen calls on fake tensors and keeps what each of them reads, writes and computes.

Imports torch, so only :mod:`.trace` imports this module, after torch was found.

*Which calls*: those that reach PyTorch's dispatcher below autograd, that is, the kernels eager mode launches. A few
functions are kept whole although PyTorch takes them apart on a CPU (:data:`KEPT`): on accelerators they are one kernel,
or (recurrent layers) they would be thousands of calls.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ...graph.builder import BlockBuilder
from ...graph.ir import ZERO
from .aten import FREE, describe
from .calls import Call, Facts, View
from .logical import Logicals, storage_of, tensors_of
from .recorded import Recorded, Use

_aten = torch.ops.aten
KEPT: frozenset[Any] = frozenset(
    getattr(getattr(_aten, name), overload)
    for name, overload in (
        ("linear", "default"), ("scaled_dot_product_attention", "default"), ("rms_norm", "default"),
        ("lstm", "input"), ("gru", "input"), ("rnn_tanh", "input"), ("rnn_relu", "input"),
    )
)  # fmt: skip
RECURRENT: frozenset[Any] = frozenset(
    f for f in KEPT if f._schema.name in ("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu")
)
KEPT_IN_TRAINING: frozenset[Any] = frozenset({_aten.dropout.default})


@dataclass(frozen=True)
class Spoken:
    """What a module's own code says about number formats in mixed precision (:mod:`.conversions`).

    Attributes:
        targets: module path → what each conversion that it calls makes there: ``fp32``, ``low``, or nothing.
        off: modules, and (module, ATen function), that run with the region turned off.
    """

    targets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    off: frozenset[str | tuple[str, str]] = frozenset()

    def target(self, path: str, number: int) -> str:
        """What a module's conversion of a number makes."""
        targets = self.targets.get(path, ())
        return targets[number] if number < len(targets) else ""


@dataclass
class Recorder:
    """Collects ops; :meth:`mode` makes PyTorch report to it.

    Attributes:
        logicals: the tensors the ops use.
        path: module path of the call under way.
        unknown: names of calls that the op table does not describe.
        muted: calls are not recorded.
        spoken: conversions to record although they do nothing in fp32.
        called: conversions the module called so far, by path.
        regions: the module opened or closed a region of autocast.
    """

    logicals: Logicals
    path: str = ""
    ops: list[Recorded] = field(default_factory=list)
    unknown: dict[str, None] = field(default_factory=dict)
    muted: bool = False
    spoken: Spoken = field(default_factory=Spoken)
    called: Counter[str] = field(default_factory=Counter)
    regions: bool = False

    def note(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> None:
        """Record one call, after it ran."""
        schema = func._schema
        space, _, bare = schema.name.partition("::")
        name = bare.strip("_") if space == "aten" else bare
        if space == "prim" or (space == "aten" and name in FREE) or func.is_view or _is_only_view(func):
            if "empty" in name:
                self.logicals.allocate(out)
            else:
                self.logicals.alias(args, out)
            return
        bound, mutated = self._bind(schema, args, kwargs)
        views = [v for value in bound.values() for v in (value if isinstance(value, list) else [value])]
        views = [v for v in views if isinstance(v, View)]
        grad = any(self.logicals.tensors[v.tensor].needs_grad for v in views)
        outs = self._results(out, mutated, grad)
        if not outs and not mutated:
            return
        tags = func.tags
        call = Call(
            name, bound, tuple(outs), lambda elements, dtype: self.logicals.fresh(elements, dtype, grad), schema.name,
            torch.Tag.pointwise in tags, getattr(torch.Tag, "reduction", None) in tags, bool(mutated),
        )  # fmt: skip
        if func in KEPT_IN_TRAINING:
            mask = self.logicals.fresh(outs[0].elements, "bool", False)
            call = Call(name, bound, (*outs, mask), call.fresh, schema.name, in_place=False)
        off = self.spoken.off and (self.path in self.spoken.off or (self.path, schema.name) in self.spoken.off)
        for facts in describe(call):
            said = dataclasses.replace(facts, attrs={**facts.attrs, "uncast": True}) if off else facts
            self._emit(call, said, mutated)

    def entered(self) -> None:
        """The module opened or closed a region of autocast."""
        self.regions = True

    def convert(self, source: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
        """A conversion the module called; where it does nothing in fp32 but something in mixed precision, it is an op."""
        if self.muted:
            return result
        target = self.spoken.target(self.path, self.called[self.path])
        self.called[self.path] += 1
        return self.converted(source, target) if target and source.dtype == result.dtype else result

    def converted(self, source: torch.Tensor, target: str) -> torch.Tensor:
        """Record a conversion that does nothing in fp32; its result is a tensor of its own."""
        with self.quiet():
            made: torch.Tensor = torch.empty_like(source)
        before = self.logicals.view(source)
        after = self.logicals.result(made, self.logicals.tensors[before.tensor].needs_grad)
        if after is None:
            return source
        call = Call("to_copy", {"self": before}, (after,), lambda elements, dtype: after)
        self._emit(
            call, Facts("copy", "cast", BlockBuilder.element_work("cast", after.elements), attrs={"to": target}), []
        )
        return made

    def _bind(
        self, schema: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[dict[str, Any], list[tuple[torch.Tensor, View]]]:
        bound: dict[str, Any] = {}
        mutated: list[tuple[torch.Tensor, View]] = []
        for position, argument in enumerate(schema.arguments):
            if position < len(args):
                value = args[position]
            elif argument.name in kwargs:
                value = kwargs[argument.name]
            else:
                value = argument.default_value
            seen = self._seen(value)
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tensors_of(value):
                    mutated.append((tensor, self.logicals.view(tensor)))
                if not self._was_written(mutated[-1:]):
                    seen = None  # an out= or freshly allocated buffer holds nothing to read
            bound[argument.name] = seen
        return bound, mutated

    def _was_written(self, mutated: list[tuple[torch.Tensor, View]]) -> bool:
        return all(self.logicals.tensors[v.tensor].written for _, v in mutated)

    def _seen(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.logicals.view(value)
        if isinstance(value, (list, tuple)):
            return [self._seen(v) for v in value]
        return value

    def _results(self, out: Any, mutated: list[tuple[torch.Tensor, View]], grad: bool) -> list[View]:
        outs = [self.logicals.version(tensor, before, grad) for tensor, before in mutated]
        done = {storage_of(t) for t, _ in mutated}
        for tensor in tensors_of(out):
            if storage_of(tensor) not in done:
                done.add(storage_of(tensor))
                view = self.logicals.result(tensor, grad)
                if view is not None:
                    outs.append(view)
        return outs

    def _emit(self, call: Call, facts: Facts, mutated: list[tuple[torch.Tensor, View]]) -> None:
        if not facts.known:
            self.unknown[call.qualified] = None
        reads = self.logicals.uses(call.views if facts.reads is None else facts.reads)
        writes = self.logicals.uses(call.outs if facts.writes is None else facts.writes)
        for _, before in mutated:
            # What a partial overwrite leaves of the old version flows on into the new one, without being moved.
            partial = before.part and self.logicals.tensors[before.tensor].written
            if partial and all(u.tensor != before.tensor for u in reads) and before.cls not in ("weight", "constant"):
                reads.append(Use(before.tensor, ZERO))
        lying = {v.tensor: v.order for v in reversed([*call.outs, *call.views])}
        self.ops.append(
            Recorded(
                self.path, facts, tuple(reads), tuple(writes), bool(mutated),
                tuple(lying.get(u.tensor, "") for u in reads), tuple(lying.get(u.tensor, "") for u in writes),
            )
        )  # fmt: skip

    def mode(self) -> TorchDispatchMode:
        return _Watch(self)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Run a call without recording its parts."""
        before, self.muted = self.muted, True
        try:
            yield
        finally:
            self.muted = before

    def whole(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], run: Callable[[], Any]) -> Any:
        """Run and record a call as one op."""
        with self.quiet():
            out = run()
        if not self.muted:
            self.note(func, args, kwargs, out)
        return out


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not self.recorder.muted:
            self.recorder.note(func, args, kwargs, out)
        return out


def _is_only_view(func: Any) -> bool:
    """A result aliases an argument that is not written (``transpose``, ``split``), or only its shape changes."""
    if torch.Tag.inplace_view in func.tags:
        return True
    returns = func._schema.returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)
