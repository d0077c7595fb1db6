"""``torch.export``, non-strict, and replaying the exported graph under the recorder.

Imports torch, so it is imported only after torch was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Interpreter
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._pytree import tree_map

from .arguments import Argument, Trace, Untraceable, call, declare_rest, fakes, lead, owners
from .building import with_fake_weights
from .conversions import as_spoken, follow, listening
from .logical import Logicals
from .recorder import KEPT, KEPT_IN_TRAINING, RECURRENT, Recorder, Spoken
from .shapes import NotSymbolic, Sizes


class _Flat(nn.Module):  # type: ignore[misc]
    """The module with tensors in and a tuple of tensors out, which is all that export knows how to return."""

    def __init__(self, module: nn.Module, keywords: Sequence[str | None]) -> None:
        super().__init__()
        self.m = module
        self.keywords = tuple(keywords)

    def forward(self, *args: Any) -> tuple[torch.Tensor, ...]:
        return call(self.m, self.keywords, args)


def exported(module: nn.Module, arguments: Sequence[Argument], train: bool, *, free: bool) -> Trace:
    return as_spoken(lambda spoken: _exported(module, arguments, train, spoken, free), module, arguments)


def _exported(module: nn.Module, arguments: Sequence[Argument], train: bool, spoken: Spoken, free: bool) -> Trace:
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    with_fake_weights(module, mode)
    first = lead(arguments)
    # A batch of 1 says too little: sizes of 1 broadcast, so a trace would hold for 1 only.
    inputs = fakes(arguments, mode, max(first, 2) if free else None)
    wrapped = _Flat(module, [a.keyword for a in arguments])
    wrapped.train(train)
    shapes = None
    if free:
        shapes = (tuple({0: torch.export.Dim.AUTO} if a.shape[0] == first else None for a in arguments),)
    marked = _Marked(module, spoken)
    with torch.set_grad_enabled(train), marked.open():
        program = torch.export.export(wrapped, tuple(inputs), dynamic_shapes=shapes, strict=False)
    found = _replayed(program, module, arguments, spoken, marked.marks, free)
    found.recorder.called.update(marked.called)
    return found


MARK = torch.ops.aten._to_copy.default  # without a format it does nothing, and an exported graph keeps it


class _Marked:
    """Conversions that a module calls while it is exported, marked where they do something in mixed precision.

    An exported graph has its calls of ``to`` even where they do nothing, but calls their argument by the result's name from
    there on, so that what they convert cannot be told.
    """

    def __init__(self, module: nn.Module, spoken: Spoken) -> None:
        self.module, self.spoken = module, spoken
        self.path = ""
        self.called: Counter[str] = Counter()
        self.marks: list[str] = []

    @contextmanager
    def open(self) -> Iterator[None]:
        hooks = [hook for name, part in self.module.named_modules() for hook in follow(part, name, self)]
        hooks.append(self.module.register_forward_pre_hook(self._enter))
        try:
            with listening(self._called):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, *_: Any) -> None:
        self.called.clear()  # export may call the module once before it traces it
        self.marks.clear()

    def _called(self, source: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
        target = self.spoken.target(self.path, self.called[self.path])
        self.called[self.path] += 1
        if not target or source.dtype != result.dtype:
            return result
        self.marks.append(target)
        made: torch.Tensor = MARK(source)
        return made


def _replayed(
    program: Any, module: nn.Module, arguments: Sequence[Argument], spoken: Spoken, marks: Sequence[str], free: bool
) -> Trace:
    holders = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    specs: Any = program.graph_signature.input_specs
    inputs: list[str] = [s.arg.name for s in specs if s.kind.name == "USER_INPUT"]
    names: dict[str, str] = {}
    first = lead(arguments)
    for argument, holder in zip(arguments, inputs, strict=True):
        if free and argument.shape[0] == first:
            symbol: Any = getattr(getattr(holders[holder].shape[0], "node", None), "expr", None)
            if not getattr(symbol, "is_Symbol", False):
                raise NotSymbolic("the module fixes its batch")
            names[symbol.name] = "batch"
    recorder = Recorder(Logicals(Sizes(names)), spoken=spoken)
    known = owners(module)
    for spec in specs:
        value = holders[spec.arg.name]
        if not isinstance(value, torch.Tensor):
            continue
        if spec.kind.name == "USER_INPUT":
            recorder.logicals.declare(value, arguments[inputs.index(spec.arg.name)].name, "input")
            continue
        name = str(spec.target).removeprefix("m.")
        if spec.kind.name == "PARAMETER":
            owner, needs_grad = known.get(name, (name, True))
            recorder.logicals.declare(value, owner, "weight", needs_grad)
        else:
            recorder.logicals.declare(value, known.get(name, (name, False))[0], "constant")
    fake_mode = next(v.fake_mode for v in holders.values() if isinstance(v, torch.Tensor))
    with torch.no_grad(), fake_mode, recorder.mode():
        outputs = _Replay(program.graph_module, recorder, list(marks)).run(*holders.values())
    told = fake_mode.shape_env.replacements.items()
    fixed = names.keys() & {symbol.name for symbol, found in told if found.is_number}
    if fixed:  # an operator looked at the size, and what follows holds for the batch it was traced at
        raise NotSymbolic("the module fixes its batch on the way")
    declare_rest(recorder, module)
    results = tuple(recorder.logicals.logical(t) for t in outputs if isinstance(t, torch.Tensor))
    return Trace(recorder, results, "export" if free else "export-static", not free)


class _Replay(Interpreter):  # type: ignore[misc]
    """Runs an exported graph node by node, telling the recorder which module each node came from."""

    def __init__(self, graph_module: Any, recorder: Recorder, marks: list[str]) -> None:
        super().__init__(graph_module, garbage_collect_values=False)
        self.recorder = recorder
        self.marks = marks
        self.node: Any = None

    def run_node(self, n: Any) -> Any:
        self.node = n
        stack = n.meta.get("nn_module_stack")
        if stack and n.op == "call_function":
            self.recorder.path = _path([entry[0] for entry in stack.values()])
        return super().run_node(n)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if keep(target, args, kwargs):
            if torch.is_autocast_enabled("cpu") and target not in RECURRENT:
                with torch.autocast("cpu", enabled=False):
                    return self.call_function(target, *autocast(args, kwargs))
            traced = self.node.meta.get("val")
            if target in RECURRENT and traced is not None:  # their CPU kernels refuse symbolic sizes
                return self.recorder.whole(target, args, kwargs, lambda: traced)
            return self.recorder.whole(target, args, kwargs, lambda: target(*args, **kwargs))
        if isinstance(target, torch._ops.HigherOrderOperator):
            return self._higher_order(target, args)
        if target is MARK and not kwargs and self.marks:
            return self.recorder.converted(args[0], self.marks.pop(0))
        if told_by_factors(target, args, kwargs):
            target, args = by_sizes(target, args)
        return super().call_function(target, args, kwargs)

    def _higher_order(self, target: Any, args: Sequence[Any]) -> Any:
        """Regions that only change a setting run inline; of a condition's branches the first is taken."""
        bodies = [i for i, a in enumerate(args) if isinstance(a, torch.fx.GraphModule)]
        name = target.name() if callable(getattr(target, "name", None)) else str(target)
        if not bodies or name in ("while_loop", "scan", "map_impl", "associative_scan"):
            raise Untraceable([NotImplementedError(f"the operator {name}")])
        operands = args[bodies[-1] + 1 :]
        if name == "cond":
            self.recorder.unknown["cond (its first branch is taken)"] = None
            operands = tuple(operands[0]) if len(operands) == 1 else operands
        with ExitStack() as stack:
            if name == "wrap_with_autocast":
                self.recorder.regions = True
                device, dtype, enabled, cache = args[:4]
                stack.enter_context(torch.autocast(device, dtype=dtype, enabled=enabled, cache_enabled=cache))
            return _Replay(args[bodies[0]], self.recorder, self.marks).run(*operands)


def told_by_factors(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call is of an interpolation's form for factors (``upsample_nearest2d.vec``), all its arguments by position."""
    own = isinstance(target, torch._ops.OpOverload) and target._overloadname == "vec"
    return own and not kwargs and len(args) == len(target._schema.arguments)


def by_sizes(target: Any, args: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    """The same interpolation in its form for sizes: the other's C++ reads every size of its input as a number, the batch among them."""
    source, size, *settings, scales = args
    if size is None:
        size = [int(length * scale) for length, scale in zip(source.shape[2:], scales, strict=True)]
    each = scales if scales is not None else [None] * len(size)
    return target.overloadpacket.default, (source, size, *settings, *each)


def _path(stack: Sequence[str]) -> str:
    """The innermost module's path: without the wrapper, without marks of repeated calls (``@1``)."""
    paths = [p for p in stack if p == "m" or p.startswith("m.")]
    if not paths:
        return ""
    return paths[-1].partition("@")[0].removeprefix("m").removeprefix(".")


def keep(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    if target in KEPT:
        return True
    if target in KEPT_IN_TRAINING:
        given = dict(zip(("input", "p", "train"), args, strict=False)) | dict(kwargs)
        return bool(given.get("train")) and float(given.get("p", 0.0)) > 0
    return False


def autocast(args: Any, kwargs: Any) -> Any:
    """The casts that an autocast region puts before a product: seen by the recorder as calls of their own."""
    dtype = torch.get_autocast_dtype("cpu")

    def cast(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value

    return tree_map(cast, (args, kwargs))
