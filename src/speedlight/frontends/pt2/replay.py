"""Replays an exported program's calls on tensors without data, under the recorder of live modules. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from ..._foundation.errors import BadFile, BadInput, SpeedlightError, Unsupported
from ...graph.grammar import check
from ...graph.ir import Graph
from ..torch_export.assemble import assemble
from ..torch_export.exported import autocast, by_sizes, keep, told_by_factors
from ..torch_export.fold import fold
from ..torch_export.inputs import parse_inputs
from ..torch_export.logical import DTYPES as FORMATS
from ..torch_export.logical import Logicals
from ..torch_export.reasons import needs_data, short
from ..torch_export.recorder import RECURRENT, Recorder
from ..torch_export.shapes import NotSymbolic, Sizes
from ..torch_export.trace import _surroundings as surroundings
from .schema import Code, Meta, Node, Program, Weights, one, size_of
from .values import ARITHMETIC, CHECKS, DTYPES, operator_of, value_of

LONGEST_S = 300.0  # a replay takes about a millisecond a call
# Their C++ reads every size as a number, the batch among them; PyTorch's Python for tensors without data does not.
PADDING = (torch.ops.aten.pad.default, torch.ops.aten.constant_pad_nd.default)
_DEEPEST = 8  # graphs in graphs
# Operators that return as many tensors as a size says: the file must say as many.
_LISTING = {"unbind", "chunk", "unsafe_chunk", "split", "unsafe_split", "tensor_split", "hsplit", "vsplit", "dsplit"}


def graph_of(program: Program, weights: Weights, path: Path, inputs: Sequence[str]) -> Graph:
    """The graph of a program; see :func:`speedlight.frontends.pt2.load_program`."""
    where = str(path)
    code = program.graph_module.graph
    given = _given(code, program, inputs, where)
    try:
        with surroundings(), torch.no_grad():
            try:
                return _graph(program, weights, path, given)
            except _Fixed:  # as for live modules: what follows holds for one batch, so that all of it does
                return _graph(program, weights, path, given, fixed=True)
    except SpeedlightError:
        raise
    except NotSymbolic as error:
        raise Unsupported(f"{where}: {error}", expected="sizes that follow from those of the inputs") from None
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # PyTorch's operators raise all sorts of things on arguments that do not fit
        if needs_data(error):
            raise Unsupported(
                f"{where}: sizes or branches depend on the values of tensors",
                expected="sizes that follow from the inputs'",
            ) from None
        raise BadFile(
            f"{where}: its calls do not fit PyTorch's operators: {short(error)}",
            expected=f"a program that this PyTorch ({torch.__version__}) can run",
        ) from None


def _user_inputs(program: Program, where: str) -> list[str]:
    """Names of the tensors the caller gives, in order."""
    found = []
    for spec in program.graph_module.signature.input_specs:
        kind, entry = one(spec, where)
        argument = entry.get("arg") if isinstance(entry, dict) else None
        if kind == "user_input" and isinstance(argument, dict):
            name, value = one(argument, where)
            if name == "as_tensor" and isinstance(value, dict):
                found.append(str(value.get("name")))
    return found


def _given(code: Code, program: Program, inputs: Sequence[str], where: str) -> dict[str, int]:
    """Symbol → size, as ``--input`` says.

    Raises:
        BadInput: where shapes do not fit what the program takes.
    """
    if not inputs:
        return {}
    shapes, names = parse_inputs(inputs), _user_inputs(program, where)
    if len(shapes) != len(names):
        raise BadInput(f"{len(shapes)} inputs are given", expected=f"{len(names)}: {', '.join(names[:8])}")
    sizes: dict[str, int] = {}
    for shape, name in zip(shapes, names, strict=True):
        meta = _meta(code, name, where)
        known = [size_of(s, where) for s in meta.sizes]
        fits = len(known) == len(shape.shape) and all(
            symbol is not None or number == wanted for (number, symbol), wanted in zip(known, shape.shape, strict=False)
        )
        if not fits:
            told = "x".join(str(s or n or "?") for n, s in known)
            raise BadInput(
                f"the input {name} is {'x'.join(map(str, shape.shape))}", expected=f"{told}, as it was exported"
            )
        for (_, symbol), wanted in zip(known, shape.shape, strict=True):
            if symbol is not None and sizes.setdefault(symbol, wanted) != wanted:
                raise BadInput(f"the size {symbol} is {sizes[symbol]} and {wanted}", expected="one size")
    return sizes


def _meta(code: Code, name: str, where: str) -> Meta:
    found = code.tensor_values.get(name)
    if found is None or found.dtype not in DTYPES or len(found.sizes) > 64:
        raise BadFile(f"{where}: the tensor {name[:80]!r} has no usable type", expected="tensor_values for every input")
    return found


class _Fixed(Exception):
    """An operator looked at the batch as a number."""


def _graph(program: Program, weights: Weights, path: Path, given: Mapping[str, int], fixed: bool = False) -> Graph:
    where, code = str(path), program.graph_module.graph
    users = _user_inputs(program, where)
    first = _meta(code, users[0], where) if users else None
    size, free = size_of(first.sizes[0], where) if first is not None and first.sizes else (1, None)
    batch = given.get(free, size) if free else size
    free = None if fixed else free
    environment = ShapeEnv()
    mode = FakeTensorMode(shape_env=environment, allow_fallback_kernels=False)
    symbol: Any = None
    if free is not None:
        # a batch of 1 says too little: sizes of 1 broadcast
        probe = mode.from_tensor(
            torch.empty(max(batch or 2, 2), device="meta"),
            symbolic_context=StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC]),
        )
        symbol = probe.shape[0]
    own = None if symbol is None else symbol.node.expr
    sizes = Sizes({} if own is None else {own.name: "batch"})
    replay = _Replay(Recorder(Logicals(sizes)), where)
    assumed: dict[str, int] = {}
    joined: dict[str, None] = {}

    def tensor(meta: Meta) -> torch.Tensor:
        shape: list[Any] = []
        for position, entry in enumerate(meta.sizes):
            number, name = size_of(entry, where)
            if name is not None and free is not None:
                # exporters give every input's leading size a name of its own, unless the network itself says they are one
                along = position == 0 and number == size and given.get(name, batch) == batch
                if name == free or along:
                    shape.append(symbol)
                    if name != free:
                        joined[name] = None
                    continue
            chosen = given.get(name, number) if name else number
            if chosen is None:
                raise Unsupported(f"{where}: a size that is no plain number", expected="--input for every input")
            if name:
                assumed[name] = chosen
            shape.append(chosen)
        strides = [size_of(s, where)[0] if "as_int" in s else None for s in meta.strides]
        with mode:
            if len(strides) == len(shape) and None not in strides and not any(s is symbol for s in shape[1:]):
                return torch.empty_strided(shape, strides, dtype=DTYPES[meta.dtype], device="cpu")
            return torch.empty(shape, dtype=DTYPES[meta.dtype], device="cpu")

    known, floating = _placeholders(program, weights, replay.recorder, tensor, where)
    with mode, replay.recorder.mode():
        results = replay.run(code, known)
    if own is not None and own in environment.replacements:
        raise _Fixed
    if not replay.recorder.ops:
        raise BadInput(f"{where} computes nothing", expected="a program with operators")
    outputs = [replay.recorder.logicals.logical(t) for t in results if isinstance(t, torch.Tensor)]
    said = [("size " + name, f"{number}: as exported; give --input for another") for name, number in assumed.items()
            if name not in given]  # fmt: skip
    said += [("size " + name, "the batch: exported as long as the first input's") for name in joined]
    attrs = {
        "family": replay.family, "kind": "module", "unknown_ops": tuple(replay.recorder.unknown),
        "assumptions": tuple(said), "dtype": FORMATS.get(floating, "fp32"), "capture": "pt2", "train": False,
        "static": () if free else ("batch",),
        "inputs": tuple((f"input.{n}", tuple(size_of(s, where)[0] for s in _meta(code, n, where).sizes)) for n in users),
    }  # fmt: skip
    flat = assemble(path.stem, replay.recorder, outputs, replay.leaves(program), {"batch": batch}, attrs)
    return check(fold(check(flat)))


def _placeholders(
    program: Program, weights: Weights, recorder: Recorder, tensor: Any, where: str
) -> tuple[dict[str, Any], torch.dtype]:
    """(values of the graph's inputs by name, dtype of the first floating-point weight)."""
    code = program.graph_module.graph
    places: dict[Any, str] = {}
    known: dict[str, Any] = {}
    floating: torch.dtype | None = None
    for spec in program.graph_module.signature.input_specs:
        kind, entry = one(spec, where)
        argument = entry.get("arg") if isinstance(entry, dict) else None
        if kind == "constant_input" and isinstance(entry, dict):
            value = entry.get("value")
            known[str(entry.get("name"))] = value_of(value, {}, where) if isinstance(value, dict) else None
            continue
        if kind == "user_input" and isinstance(argument, dict):
            form, argument = one(argument, where)
            if form != "as_tensor":
                if form.startswith("as_sym") or not isinstance(argument, (bool, int, float, str, type(None))):
                    raise Unsupported(f"{where}: an input that is {form[3:]}", expected="tensors")
                continue
        if not isinstance(argument, dict) or not isinstance(argument.get("name"), str):
            raise BadFile(f"{where}: an input of the kind {kind[:40]!r} without a name", expected="a tensor")
        name = argument["name"]
        meta = _meta(code, name, where)
        value = known[name] = tensor(meta)
        if kind == "user_input":
            recorder.logicals.declare(value, f"input.{name}", "input")
        elif kind == "parameter":
            path = str(entry.get("parameter_name"))
            payload = weights.config.get(path)
            shape = tuple(size_of(s, where)[0] for s in meta.sizes)
            # The exporter stores equal content once: a matrix is then tied, while vectors are mostly zeros or ones alike.
            if payload is not None and payload.path_name is not None and len(shape) > 1:
                path = places.setdefault((payload.path_name, shape), path)
            recorder.logicals.declare(value, path, "weight", meta.requires_grad)
            if floating is None and value.dtype.is_floating_point:
                floating = value.dtype
        elif kind in ("buffer", "tensor_constant"):
            label = entry.get("buffer_name") or entry.get("tensor_constant_name") or name
            recorder.logicals.declare(value, str(label), "constant")
        else:
            raise Unsupported(f"{where}: an input of the kind {kind[:40]!r}", expected="tensors")
    return known, floating or torch.float32


class _Replay:
    """Runs calls in order.

    Attributes:
        family: class name of the exported module.
    """

    def __init__(self, recorder: Recorder, where: str) -> None:
        self.recorder = recorder
        self.where = where
        self.family = "Module"
        self._paths: dict[str, None] = {}
        self._end = time.monotonic() + LONGEST_S

    def leaves(self, program: Program) -> set[str]:
        """Paths of modules nothing lies below, by the modules that ran and the weights' names."""
        owners = {str(e.get("parameter_name") or e.get("buffer_name") or "").rpartition(".")[0]
                  for spec in program.graph_module.signature.input_specs for e in spec.values() if isinstance(e, dict)}  # fmt: skip
        above = {p.rpartition(".")[0] for p in (*self._paths, *owners) if p}
        for path in list(above):
            while path:
                path = path.rpartition(".")[0]
                above.add(path)
        return {p for p in self._paths if p and p not in above}

    def run(self, code: Code, known: Mapping[str, Any], depth: int = 0) -> list[Any]:
        """The results of a graph on the values of its inputs."""
        values = dict(known)
        for node in code.nodes:
            if time.monotonic() > self._end:
                raise Unsupported(
                    f"{self.where} takes more than {LONGEST_S:.0f} s to replay", expected="a smaller program"
                )
            self._locate(node)
            result = self._call(node, values, depth)
            self._keep(node, result, code, values)
        return [value_of(o, values, self.where) for o in code.outputs]

    def _locate(self, node: Node) -> None:
        entries = [e.split(",") for e in node.metadata.nn_module_stack.split(";") if e.count(",") >= 2]
        if not entries or entries[-1][1].startswith("_empty_nn_module_stack"):
            self.recorder.path = ""
            return
        if entries[0][1] == "" and self.family == "Module":
            self.family = entries[0][-1].rpartition(".")[2][:80]
        path = entries[-1][1].partition("@")[0][:400]
        self.recorder.path = path
        self._paths[path] = None

    def _call(self, node: Node, values: Mapping[str, Any], depth: int) -> Any:
        target = node.target
        if target.startswith("torch.ops.higher_order."):
            return self._region(node, values, depth)
        arguments = [(i.name, value_of(i.arg, values, self.where)) for i in node.inputs]
        if target in ARITHMETIC:
            result = ARITHMETIC[target](*[v for _, v in arguments])
            if isinstance(result, int) and not -(2**62) < result < 2**62:
                raise BadFile(f"{self.where}: a size of {result.bit_length()} bits", expected="sizes of tensors")
            return result
        function = operator_of(target, self.where)
        if function._schema.name.removeprefix("aten::") in CHECKS:
            return None
        names = [a.name for a in function._schema.arguments]
        unknown = next((n for n, _ in arguments if n not in names), None)
        if unknown is not None:
            raise BadFile(f"{self.where}: {target[:80]} has no argument {unknown[:40]!r}", expected=", ".join(names))
        given = dict(arguments)
        args: list[Any] = []
        for argument in function._schema.arguments:
            if argument.name not in given or argument.kwarg_only:
                break
            args.append(given.pop(argument.name))
        self._bounded(function, node, args, given)
        return self._run(function, args, given)

    def _run(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """As :class:`~..torch_export.exported._Replay` calls what it replays."""
        if told_by_factors(function, args, kwargs):
            function, args = by_sizes(function, args)
        if function in PADDING:
            with enable_python_dispatcher():
                return function(*args, **kwargs)
        if not keep(function, args, kwargs):
            return function(*args, **kwargs)
        if torch.is_autocast_enabled("cpu") and function not in RECURRENT:
            with torch.autocast("cpu", enabled=False):
                args, kwargs = autocast(args, kwargs)
                return self._run(function, list(args), dict(kwargs))
        if function in RECURRENT:  # their CPU kernels refuse symbolic sizes
            return self.recorder.whole(function, args, kwargs, lambda: _recurrent(function, args, kwargs))
        return self.recorder.whole(function, args, kwargs, lambda: function(*args, **kwargs))

    def _bounded(self, function: Any, node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse a call that would return more tensors than the file names."""
        name = function._schema.name.removeprefix("aten::")
        if name not in _LISTING or not args or not isinstance(args[0], torch.Tensor):
            return
        given = {a.name: v for a, v in zip(function._schema.arguments, args, strict=False)} | dict(kwargs)
        source = args[0]
        dim = given.get("dim", 0)
        length = source.shape[dim] if isinstance(dim, int) and -source.dim() <= dim < source.dim() else 1
        said = len(next((v for k, v in (one(o, self.where) for o in node.outputs) if k == "as_tensors"), ()))
        pieces = given.get("chunks", given.get("sections", length))
        step = given.get("split_size")
        if isinstance(step, int) and step > 0 and isinstance(length, int):
            pieces = -(-length // step)
        if isinstance(pieces, int) and isinstance(length, int) and min(pieces, max(length, 1)) > max(said, 1):
            raise BadFile(f"{self.where}: {node.target[:80]} makes {pieces:,} tensors, the file names {said}")

    def _region(self, node: Node, values: Mapping[str, Any], depth: int) -> Any:
        """Regions that only change a setting run inline; of a condition's branches the first is taken."""
        name = node.target.rpartition(".")[2]
        if depth >= _DEEPEST:
            raise BadFile(f"{self.where}: graphs nested {depth} deep", expected=f"at most {_DEEPEST}")
        kinds = [one(i.arg, self.where) for i in node.inputs]
        bodies = [i for i, (kind, _) in enumerate(kinds) if kind == "as_graph"]
        if name not in ("wrap_with_set_grad_enabled", "wrap_with_autocast", "cond") or not bodies:
            raise Unsupported(
                f"{self.where} calls the region {name[:60]!r}", expected="autocast, no_grad and cond regions"
            )
        before = [value_of(i.arg, values, self.where) for i in node.inputs[: bodies[0]]]
        operands = [value_of(i.arg, values, self.where) for i in node.inputs[bodies[-1] + 1 :]]
        if name == "cond":
            self.recorder.unknown["cond (its first branch is taken)"] = None
            operands = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], list) else operands
        body = kinds[bodies[0]][1]
        code = _code(body.get("graph") if isinstance(body, dict) else None, self.where)
        if len(code.inputs) != len(operands):
            raise BadFile(f"{self.where}: a region takes {len(code.inputs)} values, {len(operands)} are given")
        inner = {}
        for argument, value in zip(code.inputs, operands, strict=True):
            _, named = one(argument, self.where)
            inner[str(named.get("name") or named.get("as_name")) if isinstance(named, dict) else ""] = value
        path = self.recorder.path
        with ExitStack() as stack:
            if name == "wrap_with_autocast" and len(before) >= 3:
                stack.enter_context(torch.autocast("cpu", dtype=before[1], enabled=bool(before[2])))
            results = self.run(code, inner, depth + 1)
        self.recorder.path = path
        return results if len(results) != 1 else results[0]

    def _keep(self, node: Node, result: Any, code: Code, values: dict[str, Any]) -> None:
        """File results under the names the file gives them; what it says of their shapes must be so."""
        outputs = [one(o, self.where) for o in node.outputs]
        if len(outputs) == 1 and outputs[0][0] == "as_tensors":
            pairs = list(
                zip(outputs[0][1] or (), result if isinstance(result, (list, tuple)) else (result,), strict=False)
            )
        elif len(outputs) == 1:
            single = result[0] if isinstance(result, (list, tuple)) and len(result) == 1 else result
            pairs = [(outputs[0][1], single)]
        else:
            pairs = list(
                zip([v for _, v in outputs], result if isinstance(result, (list, tuple)) else (), strict=False)
            )
        for named, value in pairs:
            name = (named.get("name") or named.get("as_name")) if isinstance(named, dict) else None
            if not isinstance(name, str):
                continue
            stated = code.tensor_values.get(name)
            if stated is not None and isinstance(value, torch.Tensor):
                self._compare(node, name, stated, value)
            values[name] = value

    def _compare(self, node: Node, name: str, stated: Meta, value: torch.Tensor) -> None:
        numbers = [s.get("as_int") for s in stated.sizes]
        same = len(numbers) == value.dim() and all(
            a is None or not isinstance(b, int) or a == b for a, b in zip(numbers, value.shape, strict=False)
        )
        if not same:
            raise BadFile(
                f"{self.where}: {node.target[:80]} gives {name[:40]} the shape {tuple(value.shape)}, the file says {numbers}",
                expected="a program this PyTorch agrees with",
            )


def _code(data: Any, where: str) -> Code:
    import msgspec

    try:
        return msgspec.convert(data, type=Code)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadFile(f"{where}: a region's graph cannot be read: {str(error)[:120]}", expected="a graph") from None


def _recurrent(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
    """What lstm, gru and rnn return: the last layer's states over time, and the final states."""
    given = {a.name: v for a, v in zip(function._schema.arguments, args, strict=False)} | dict(kwargs)
    x, params = given["input"], given["params"]
    states = given["hx"] if isinstance(given["hx"], (list, tuple)) else [given["hx"]]
    directions = 2 if given.get("bidirectional") else 1
    swapped = bool(given.get("batch_first")) and x.dim() == 3  # computed step by step: a view of that is returned
    rows = (x.shape[1], x.shape[0]) if swapped else x.shape[:-1]
    output = x.new_empty((*rows, states[0].shape[-1] * directions))
    output = output.transpose(0, 1) if swapped else output
    if not params or not isinstance(params[0], torch.Tensor):
        raise BadInput("a recurrent layer without weights", expected="its weights")
    return (output, *[s.new_empty(s.shape) for s in states])
