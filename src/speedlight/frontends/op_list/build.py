"""A validated ops file → a graph."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..._foundation.errors import BadInput, UnknownName
from ..._foundation.expr import Expr, as_expr, substitute, sym, symbols
from ..._foundation.expr_text import parse_expr
from ..._foundation.formats import bytes_per_element, number_format
from ...graph.builder import BlockBuilder
from ...graph.grammar import ACCESSES, MESH_AXES, STEP_SYMBOLS, check
from ...graph.ir import KINDS, ONE, TENSOR_CLASSES, Block, Graph, Message, Operand, Persistent, Tensor, Work
from ...graph.statistics import Statistic
from .site import HOMES, Site
from .spec import BlockSpec, OperandSpec, OpListSpec, OpSpec, SymbolSpec, TensorSpec, WorkSpec
from .templates import TEMPLATES, Argument
from .templates.messages import COLLECTIVES

PATHS = ("copied", "zero-copy", "demand-paged")
RESERVED = STEP_SYMBOLS | MESH_AXES | {"count", "new", "cached"}
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_SYMBOL = re.compile(r"[A-Za-z_]\w*")
_KEPT = ("weight", "constant", "index", "kv", "state", "optimizer", "feature_cache")


class FieldError(BadInput):
    """What is wrong with a field of the file; the reader adds file and line."""

    def __init__(self, path: tuple[str | int, ...], error: BadInput) -> None:
        super().__init__(error.message, expected=error.expected, hint=error.hint)
        self.path = path


class _At:
    """``with _At(path): …`` names the field that what goes wrong inside belongs to; the innermost counts."""

    def __init__(self, *path: str | int) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, FieldError):
            raise FieldError((*self.path, *error.path), error) from None
        if isinstance(error, BadInput):
            raise FieldError(self.path, error) from None


def build(spec: OpListSpec, name: str, dtype: str | None = None) -> Graph:
    """The graph of an ops file.

    Args:
        spec: the file, its fields' types checked.
        name: what answers call it where the file gives no name.
        dtype: the format that stands where the file's own ``dtype`` would.

    Raises:
        FieldError: with the path of the field.
    """
    return _File(spec, spec.name or name, dtype).graph()


class _File:
    """One pass over the file: symbols, shared tensors, blocks; collects the statistics templates leave open."""

    def __init__(self, spec: OpListSpec, name: str, dtype: str | None) -> None:
        self.spec, self.name = spec, name
        with _At("dtype"):
            self.dtype = number_format(dtype or spec.dtype).name
        self.statistics: dict[str, Statistic] = {}
        self.shared: dict[str, Tensor] = {}
        self.notes: list[tuple[str, str]] = []

    def graph(self) -> Graph:
        for key, value in self.spec.symbols.items():
            with _At("symbols", key):
                self.statistics[key] = self._symbol(key, value)
        for key, tensor in self.spec.tensors.items():
            with _At("tensors", key):
                self.shared[key] = self._tensor(key, tensor, shared=True)
        blocks: list[Block] = []
        if self.spec.ops:
            blocks.append(self._block(BlockSpec("ops", self.spec.ops), ()))
        for index, block in enumerate(self.spec.blocks):
            blocks.append(self._block(block, ("blocks", index)))
        _refuse_twice((b.name for b in blocks), "blocks", ("blocks",))
        attrs: dict[str, Any] = {
            "kind": "op list", "statistics": tuple(self.statistics.values()), "assumptions": tuple(self.notes),
        }  # fmt: skip
        if self.spec.items is not None:
            with _At("items", "count"):
                self._known(sym(self.spec.items.count))
            attrs["items"] = (self.spec.items.unit, self.spec.items.count)
        free = {s.name: _plain(s) for s in self.statistics.values()}
        return check(Graph(self.name, tuple(blocks), self.shared, {}, free, attrs))

    # symbols ---------------------------------------------------------------------------------------------------------

    def _symbol(self, name: str, value: Any) -> Statistic:
        if not _SYMBOL.fullmatch(name) or name in RESERVED:
            raise BadInput(
                f"{name!r} is no name for a symbol",
                expected=f"letters, digits and _, and none of {', '.join(sorted(RESERVED))}",
            )
        spec = value if isinstance(value, SymbolSpec) else SymbolSpec(value)
        if (spec.low is None) != (spec.high is None):
            raise BadInput("a range has one end", expected="low and high")
        if spec.value is not None and spec.low is not None:
            raise BadInput("a symbol has a value and a range", expected="one of the two: a range stands in for a value")
        default, low, high = (None if end is None else self._expr(end) for end in (spec.value, spec.low, spec.high))
        if name == "batch" and (default is None or default.constant is None):
            raise BadInput("the batch is no number", expected="a number: --batch changes it")
        return Statistic(
            name, spec.about, default, low, high, source=spec.source or ("assumed" if low is not None else "")
        )

    def _expr(self, value: Any) -> Expr:
        """A size of the file, over its symbols.

        Raises:
            BadInput: for text that is no expression. UnknownName: for symbols the file does not declare before.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise BadInput(f"{value!r} is no size", expected="a number or an expression")
        return self._known(parse_expr(value))

    def _known(self, expr: Expr) -> Expr:
        for used in sorted(symbols(expr)):
            if used not in self.statistics:
                raise UnknownName("symbol", used, self.statistics)
        return expr

    # tensors ---------------------------------------------------------------------------------------------------------

    def _tensor(self, name: str, spec: TensorSpec, *, shared: bool) -> Tensor:
        if not _NAME.fullmatch(name):
            raise BadInput(f"{name!r} is no name for a tensor", expected="letters, digits, _ . and -")
        if spec.cls not in TENSOR_CLASSES:
            raise UnknownName("tensor class", spec.cls, TENSOR_CLASSES)
        dtype = self._format(spec.dtype)
        size = self._size(spec.elements, spec.bytes, dtype)
        if size is None:
            raise BadInput("a tensor without a size", expected="elements or bytes")
        homes = _homes(spec.home)
        kept = shared or spec.cls in _KEPT or homes != (("main", 1.0),)
        lifetime = "model" if spec.cls in ("weight", "constant", "index") else "run"
        return Tensor(
            name, size, dtype, spec.cls, Persistent(size, lifetime, homes) if kept else None, needs_grad=False
        )

    def _format(self, name: str | None) -> str:
        return number_format(name).name if name else self.dtype

    def _size(self, elements: Any, size: Any, dtype: str) -> Expr | None:
        if elements is not None and size is not None:
            raise BadInput("a size in elements and in bytes", expected="one of the two")
        if elements is not None:
            return self._expr(elements)
        return None if size is None else self._expr(size) / bytes_per_element(dtype)

    # blocks ----------------------------------------------------------------------------------------------------------

    def _block(self, spec: BlockSpec, path: tuple[str | int, ...]) -> Block:
        with _At(*path, "name"):
            if not _NAME.fullmatch(spec.name):
                raise BadInput(f"{spec.name!r} is no name for a block", expected="letters, digits, _ . and -")
        with _At(*path, "count"):
            count = self._expr(spec.count)
        alone = not path
        builder = BlockBuilder(spec.name, "" if alone else spec.name, self.dtype, count)
        for key, tensor in spec.tensors.items():
            with _At(*path, "tensors", key):
                builder.tensors[key] = self._tensor(key, tensor, shared=False)
        declared = frozenset(spec.tensors)
        for index, op in enumerate(spec.ops):
            with _At(*path, "ops", index):
                if not _NAME.fullmatch(op.name):
                    raise FieldError(
                        ("name",), BadInput(f"{op.name!r} is no name for an op", expected="letters, digits, _ . and -")
                    )
                self._op(builder, declared, op, "" if alone else f"{spec.name}.")
        _refuse_twice((op.name for op in builder.ops), "ops", (*path, "ops"))
        return builder.build()

    def _op(self, builder: BlockBuilder, declared: frozenset[str], spec: OpSpec, prefix: str) -> None:
        with _At("count"):
            count = self._expr(spec.count)
        if spec.template is not None:
            stray = [f for f in ("work", "reads", "writes", "message", "dims") if getattr(spec, f)]
            if stray or spec.kind != "other" or spec.span != 1:
                raise BadInput(
                    f"a template with {stray[0] if stray else 'kind or span'} of its own",
                    expected="its arguments under with",
                )
            with _At("template"):
                template = TEMPLATES.get(spec.template)
            with _At("with"):
                out = spec.arguments.get("out")
                if out is not None and not (isinstance(out, str) and _NAME.fullmatch(out)):
                    raise FieldError(
                        ("out",), BadInput(f"{out!r} is no name for a tensor", expected="letters, digits, _ . and -")
                    )
                site = Site(builder, self.shared, declared, spec.name, count, out)
                given = self._arguments(template.arguments, spec, site, prefix)
                template.expand(site, **given)
            return
        if spec.arguments:
            raise FieldError(("with",), BadInput("arguments without a template", expected="template: its name"))
        site = Site(builder, self.shared, declared, spec.name, count)
        self._plain(site, spec)

    def _arguments(self, known: Mapping[str, Argument], spec: OpSpec, site: Site, prefix: str) -> dict[str, Any]:
        unknown = [a for a in spec.arguments if a not in known]
        if unknown:
            raise FieldError((unknown[0],), UnknownName(f"argument of {spec.template}", unknown[0], known))
        values: dict[str, Any] = {}
        for name, argument in known.items():
            if name == "out":
                continue
            with _At(name):
                values[name] = self._argument(name, argument, spec, site, prefix, values)
        return values

    def _argument(
        self, name: str, argument: Argument, spec: OpSpec, site: Site, prefix: str, before: Mapping[str, Any]
    ) -> Any:  # fmt: skip
        given = spec.arguments.get(name)
        if argument.sort == "size":
            if given is not None:
                return _within(name, self._expr(given), argument)
            sizes = {k: v for k, v in before.items() if isinstance(v, Expr)}
            if argument.default is not None:
                return substitute(parse_expr(argument.default), sizes)
            if argument.low is None or argument.high is None:
                raise BadInput(
                    f"{spec.template} {spec.name!r} lacks {name}: {argument.about}",
                    expected="a number or an expression",
                )
            key = f"{prefix}{spec.name}.{name}"
            low, high = (substitute(parse_expr(end), sizes) for end in (argument.low, argument.high))
            self.statistics[key] = Statistic(
                key, argument.about, None, low, high, argument.least, argument.most, argument.source
            )  # fmt: skip
            return sym(key)
        if given is None:
            return None if argument.sort == "tensor" else self.dtype if argument.default is None else argument.default
        if isinstance(given, bool) and "yes" in argument.words:
            given = "yes" if given else "no"  # what YAML makes of the bare words
        if not isinstance(given, str):
            raise BadInput(f"{given!r} is no {argument.sort}", expected="text")
        if argument.sort == "format":
            return number_format(given).name
        if argument.sort == "word":
            if given not in argument.words:
                raise BadInput(f"{name} is {given!r}", expected=" or ".join(argument.words))
            return given
        site.tensor(given)
        return given

    # ops by their work -----------------------------------------------------------------------------------------------

    def _plain(self, site: Site, spec: OpSpec) -> None:
        with _At("kind"):
            if spec.kind not in KINDS or spec.kind == "gap":
                raise UnknownName("kind", spec.kind, [k for k in KINDS if k != "gap"])
            if (spec.kind == "collective") != (spec.message is not None):
                raise BadInput(
                    f"a {spec.kind} {'with' if spec.message else 'without'} a message",
                    expected="collectives have messages, others none",
                )
        reads, writes, work = [], [], []
        for index, operand in enumerate(spec.reads):
            with _At("reads", index):
                reads.append(self._operand(site, operand, write=False))
        for index, operand in enumerate(spec.writes):
            with _At("writes", index):
                writes.append(self._operand(site, operand, write=True))
        for index, amount in enumerate(spec.work):
            with _At("work", index):
                work.append(self._work(amount))
        dims = {}
        for key, value in spec.dims.items():
            with _At("dims", key):
                dims[key] = self._expr(value)
        with _At("span"):
            span = self._expr(spec.span)
        with _At("message"):
            message = self._message(spec)
        site.op(spec.kind, spec.message.collective if spec.message else spec.kind, reads=reads, writes=writes, work=work,
                span=span, dims=dims, message=message)  # fmt: skip

    def _operand(self, site: Site, given: str | OperandSpec, *, write: bool) -> Operand:
        spec = OperandSpec(given) if isinstance(given, str) else given
        with _At("access"):
            if spec.access not in ACCESSES:
                raise BadInput(f"access {spec.access!r}", expected=" or ".join(ACCESSES))
            if spec.access != "streamed" and spec.granule is None:
                raise BadInput(f"a {spec.access} access without a granule", expected="granule: elements side by side")
        with _At("path"):
            if spec.path not in PATHS:
                raise BadInput(f"path {spec.path!r}", expected=" or ".join(PATHS))
        known = {**site.shared, **site.builder.tensors}
        if spec.tensor in known:
            if spec.dtype is not None:
                raise FieldError(
                    ("dtype",),
                    BadInput(f"{spec.tensor!r} has its format already", expected="dtype where it is first written"),
                )
            dtype = known[spec.tensor].dtype
            elements = self._size(spec.elements, spec.bytes, dtype)
        else:
            if not write:
                raise FieldError(("tensor",), UnknownName("tensor", spec.tensor, known))
            with _At("tensor"):
                if not _NAME.fullmatch(spec.tensor):
                    raise BadInput(f"{spec.tensor!r} is no name for a tensor", expected="letters, digits, _ . and -")
            dtype = self._format(spec.dtype)
            elements = self._size(spec.elements, spec.bytes, dtype)
            if elements is None:
                raise BadInput(
                    f"{spec.tensor!r} is written without a size",
                    expected="elements or bytes, or a tensor declared under tensors",
                )
            site.builder.activation(spec.tensor, elements, dtype, needs_grad=False)
            elements = elements if spec.access != "streamed" else None
        with _At("granule"):
            granule = None if spec.granule is None or spec.access == "streamed" else self._expr(spec.granule)
        with _At("reuse"):
            reuse = self._expr(spec.reuse)
        return Operand(spec.tensor, elements, spec.access, granule, spec.path, reuse)

    def _work(self, spec: WorkSpec) -> Work:
        with _At("unit"):
            if not _SYMBOL.fullmatch(spec.unit):
                raise BadInput(
                    f"{spec.unit!r} is no name for a unit",
                    expected="matmul, vector, transcendental or a name of your own",
                )
        with _At("format"):
            default = self.dtype if spec.unit == "matmul" else "fp32"
            number = number_format(spec.format or default)
            number_name = number.compute if spec.unit == "matmul" else number.name
        with _At("flops"):
            flops = self._expr(spec.flops)
        with _At("dense"):
            dense = None if spec.dense is None else self._expr(spec.dense)
        return Work(spec.unit, flops, number_name, None, dense)

    def _message(self, spec: OpSpec) -> Message | None:
        if spec.message is None:
            return None
        with _At("collective"):
            if spec.message.collective not in COLLECTIVES:
                raise UnknownName("collective", spec.message.collective, COLLECTIVES)
        with _At("ranks"):
            ranks = self._expr(spec.message.ranks)
        with _At("bytes"):
            return Message(spec.message.collective, ("ranks",), ranks, self._expr(spec.message.bytes))


def _within(name: str, expr: Expr, argument: Argument) -> Expr:
    number = expr.constant
    if number is not None and not argument.least <= number <= argument.most:
        raise BadInput(f"{name} is {number:g}", expected=f"{argument.least:g} to {argument.most:g}")
    return expr


def _homes(home: str | Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    shares = {home: 1.0} if isinstance(home, str) else dict(home)
    for name, share in shares.items():
        if name not in HOMES or not 0 <= share <= 1:
            raise FieldError(
                ("home",),
                BadInput(f"home {name!r}: {share}", expected="main or host, or shares of each between 0 and 1"),
            )
    if abs(sum(shares.values()) - 1) > 1e-9:
        raise FieldError(("home",), BadInput(f"shares of home sum to {sum(shares.values()):g}", expected="1"))
    return tuple(shares.items())


def _plain(statistic: Statistic) -> float | None:
    """A symbol's default where it is a number."""
    return None if statistic.value is None else statistic.value.constant


def _refuse_twice(names: Iterable[str], what: str, path: tuple[str | int, ...]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FieldError(path, BadInput(f"two {what} are called {name!r}", expected="a name of its own for each"))
        seen.add(name)


__all__ = ["ONE", "FieldError", "as_expr", "build"]
