"""Runs TorchScript's statements and expressions on tensors without data. Imports torch."""

from __future__ import annotations

import ast
import math
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..._foundation.errors import BadFile, SpeedlightError, Unsupported
from .calls import MOST_ITEMS, NESTING, PRIM, ScriptError, called, constant, unknown, weighed
from .program import Class, Program

MOST_STEPS = 400_000  # statements and expressions of one call of the module; a network of 10,000 calls takes 100,000
_DEEPEST = 200  # calls in calls
NOTHING = object()
_ROOTS = ("torch", "ops", "__torch__", "CONSTANTS")
_NUMBERS = {"inf": math.inf, "nan": math.nan, "True": True, "False": False, "None": None}


@dataclass(eq=False)
class Instance:
    """An object of a class that is no module."""

    kind: Class
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """A tensor in a list, or a constant: which one. Captures replace modules' tensors, so that it is looked up when used."""

    key: tuple[Any, ...]


@dataclass(frozen=True)
class _Bound:
    """A function, with the object it belongs to."""

    node: ast.FunctionDef
    owner: Any = NOTHING


@dataclass(frozen=True)
class _Named:
    """``torch.add``, ``ops.prim.device``: a name beyond the program."""

    text: str


_OFF = ast.parse("def get_fastpath_enabled(): return False").body[0]
assert isinstance(_OFF, ast.FunctionDef)
# As captures of live modules have it: no fused attention that exists in inference on one device only.
_UNFUSED = _Bound(_OFF)


@dataclass(eq=False)
class Interpreter:
    """Runs functions of a program.

    Attributes:
        constants: what the code calls ``CONSTANTS.c0``, ``c1``, ….
        where: the file, for messages.
        written: attributes that modules gave themselves during this call, by module and name.
        places: which attribute of which module a tensor is, by its place in the file.
        chosen: the method that the module being called stands for.
    """

    program: Program
    constants: Sequence[Any]
    where: str
    steps: int = 0
    depth: int = 0
    written: dict[tuple[int, str], Any] = field(default_factory=dict)
    types: dict[str, Any] = field(default_factory=dict)
    places: dict[tuple[Any, ...], tuple[nn.Module, str]] = field(default_factory=dict)
    chosen: str = ""

    def __deepcopy__(self, memo: dict[int, Any]) -> Interpreter:
        return self

    def start(self) -> None:
        """A new call of the whole module."""
        self.steps, self.depth = 0, 0
        self.written.clear()

    def method(self, owner: Any, kind: Class, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a method of an object.

        Raises:
            ScriptError: what the program raises.
            BadFile: for code that is no program.
        """
        node = kind.methods.get(name)
        if node is None:
            raise BadFile(f"{self.where}: {kind.name[:80]} has no {name[:40]}", expected="a method of that class")
        return self.function(_Bound(node, owner), args, kwargs)

    def function(self, bound: _Bound, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a function; its result is None where it returns nothing."""
        node = bound.node
        given = list(args) if bound.owner is NOTHING else [bound.owner, *args]
        names = [a.arg for a in node.args.args]
        if len(given) > len(names) or any(k not in names for k in kwargs):
            raise ScriptError(f"{node.name} takes {len(names)} arguments, and {len(given)} are given")
        frame = dict(zip(names, given, strict=False)) | dict(kwargs)
        defaults = dict(zip(reversed(names), reversed(node.args.defaults), strict=False))
        for name in names:
            if name not in frame:
                if name not in defaults:
                    if bound.owner is not NOTHING and len(given) == 1:
                        continue  # tracers call modules that do nothing without arguments
                    raise ScriptError(f"{node.name} misses the argument {name}")
                frame[name] = self.value(defaults[name], {})
        self.depth += 1
        if self.depth > _DEEPEST:
            raise BadFile(f"{self.where}: more than {_DEEPEST} calls in one another", expected="a network")
        result = self.block(node.body, frame)
        self.depth -= 1
        return None if result is NOTHING else result

    def block(self, body: Sequence[ast.stmt], frame: dict[str, Any]) -> Any:
        """Run statements; what they return, or ``NOTHING``."""
        for statement in body:
            self._step()
            match statement:
                case ast.Return():
                    return None if statement.value is None else self.value(statement.value, frame)
                case ast.Assign():
                    self._assign(statement.targets[0], self.value(statement.value, frame), frame)
                case ast.AnnAssign():
                    if statement.value is not None:
                        self._assign(statement.target, self.value(statement.value, frame), frame)
                case ast.Expr():
                    self.value(statement.value, frame)
                case ast.If():
                    chosen = statement.body if bool(self.value(statement.test, frame)) else statement.orelse
                    result = self.block(chosen, frame)
                    if result is not NOTHING:
                        return result
                case ast.For():
                    for item in self.value(statement.iter, frame):
                        self._assign(statement.target, item, frame)
                        result = self.block(statement.body, frame)
                        if result is not NOTHING:
                            return result
                        self._step()
                case ast.While():
                    while bool(self.value(statement.test, frame)):
                        result = self.block(statement.body, frame)
                        if result is not NOTHING:
                            return result
                        self._step()
                case ast.Pass():
                    pass
                case _:
                    raise BadFile(f"{self.where}: {type(statement).__name__} within a function", expected="TorchScript")
        return NOTHING

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Unsupported(f"{self.where} takes more than {MOST_STEPS:,} steps", expected="a smaller program")

    def _assign(self, target: ast.expr, value: Any, frame: dict[str, Any]) -> None:
        match target:
            case ast.Name():
                frame[target.id] = value
            case ast.Tuple() | ast.List():
                values = list(value)
                if len(values) != len(target.elts):
                    raise ScriptError(f"{len(values)} values for {len(target.elts)} names")
                for each, part in zip(target.elts, values, strict=True):
                    self._assign(each, part, frame)
            case ast.Attribute():
                owner = self.value(target.value, frame)
                if isinstance(owner, nn.Module):
                    self.written[id(owner), target.attr] = value
                elif isinstance(owner, Instance):
                    owner.attributes[target.attr] = value
                else:
                    raise BadFile(f"{self.where}: an attribute for what is no object", expected="TorchScript")
            case ast.Subscript():
                self.value(target.value, frame)[self._key(target.slice, frame)] = value
            case _:
                raise BadFile(f"{self.where}: a value for {type(target).__name__}", expected="a name")

    def value(self, node: ast.expr, frame: dict[str, Any]) -> Any:
        """The value of an expression."""
        self._step()
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._name(node, frame)
            case ast.Attribute():
                dotted = self._dotted(node, frame)
                return self._global(dotted) if dotted else self._attribute(self.value(node.value, frame), node.attr)
            case ast.Call():
                return self._call(node, frame)
            case ast.List():
                return [self.value(e, frame) for e in node.elts]
            case ast.Tuple():
                return tuple(self.value(e, frame) for e in node.elts)
            case ast.Dict():
                keys = [self._key(k, frame) for k in node.keys if k is not None]
                return dict(zip(keys, [self.value(v, frame) for v in node.values], strict=True))
            case ast.Subscript():
                return self.value(node.value, frame)[self._key(node.slice, frame)]
            case ast.UnaryOp():
                return -self.value(node.operand, frame)
        raise BadFile(f"{self.where}: the expression {type(node).__name__}", expected="TorchScript")

    def _key(self, node: ast.expr, frame: dict[str, Any]) -> Any:
        """An index or a key, which is no list: hashing those that hold each other never ends."""
        value = self.value(node, frame)
        if isinstance(value, NESTING):
            raise ScriptError("a list for a key")
        return value

    def _name(self, node: ast.Name, frame: dict[str, Any]) -> Any:
        if node.id in frame:
            return frame[node.id]
        if node.id in _NUMBERS:
            return _NUMBERS[node.id]
        raise BadFile(f"{self.where}: {node.id[:60]!r} is used before it has a value", expected="TorchScript")

    @staticmethod
    def _dotted(node: ast.expr, frame: dict[str, Any]) -> str:
        """``torch.add`` and the like as text; nothing for attributes of values."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in frame or node.id not in _ROOTS:
            return ""
        return ".".join((node.id, *reversed(parts)))

    def _global(self, dotted: str) -> Any:
        root, _, rest = dotted.partition(".")
        if root == "CONSTANTS":
            number = int(rest[1:]) if rest[:1] == "c" and rest[1:].isdecimal() and len(rest) < 8 else -1
            if not 0 <= number < len(self.constants):
                raise BadFile(f"{self.where}: the constant {rest[:40]!r}", expected=f"one of {len(self.constants)}")
            return self._found(self.constants[number])
        if root == "__torch__":
            if dotted == "__torch__.torch.backends.mha.get_fastpath_enabled":
                return _UNFUSED
            if dotted in self.program.functions:
                return _Bound(self.program.functions[dotted])
            if dotted in self.program.classes:
                return self.program.classes[dotted]
            owner, _, member = dotted.rpartition(".")
            if owner in self.program.classes and member in self.program.classes[owner].members:
                return self.program.classes[owner].members[member]
            raise BadFile(
                f"{self.where}: its code calls {dotted[:80]}, which it does not hold", expected="a whole archive"
            )
        return _Named(dotted)

    def _attribute(self, owner: Any, name: str) -> Any:
        if isinstance(owner, nn.Module):
            found = self.written.get((id(owner), name), NOTHING)
            if found is NOTHING:
                found = self._found(owner.script_attribute(name))
        elif isinstance(owner, Instance):
            found = self._found(owner.attributes.get(name, NOTHING))
        elif isinstance(owner, tuple):
            found = owner[fields.index(name)] if name in (fields := getattr(owner, "_fields", ())) else NOTHING
        else:
            found = NOTHING
        if found is NOTHING:
            kind = self.kind(owner)
            if kind is not None and name in kind.methods:
                return _Bound(kind.methods[name], owner)
            raise BadFile(
                f"{self.where}: {type(owner).__name__} has no {name[:60]!r}", expected="an attribute it was saved with"
            )
        return found

    def _found(self, value: Any) -> Any:
        """A value with the tensors of the file in it; lists of lists are looked through, which counts."""
        self._step()
        if isinstance(value, Held):
            module, name = self.places[value.key]
            return module._parameters[name] if name in module._parameters else module._buffers[name]
        if isinstance(value, (list, tuple)) and any(isinstance(v, (Held, *NESTING)) for v in value):
            return type(value)(map(self._found, value)) if type(value) in (list, tuple) else value
        if isinstance(value, dict) and any(isinstance(v, (Held, *NESTING)) for v in value.values()):
            return {k: self._found(v) for k, v in value.items()}
        return value

    @staticmethod
    def kind(owner: Any) -> Class | None:
        """The program's class of an object."""
        found: Class | None = owner.kind if isinstance(owner, Instance) else getattr(owner, "script_class", None)
        return found

    def _call(self, node: ast.Call, frame: dict[str, Any]) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) and node.func.id not in frame else ""
        if name in ("annotate", "unchecked_cast"):
            return self.value(node.args[-1], frame)  # the first argument is a type
        if name == "uninitialized":
            return None
        args = [self.value(a, frame) for a in node.args]
        kwargs = {k.arg: self.value(k.value, frame) for k in node.keywords if k.arg is not None}
        if name == "getattr":
            return self._attribute(args[0], str(args[1]))
        if name:
            return self._builtin(name, args)
        if isinstance(node.func, ast.Attribute) and is_forward(node.func.attr):
            owner = None if self._dotted(node.func, frame) else self.value(node.func.value, frame)
            if isinstance(owner, nn.Module):
                self.chosen = node.func.attr
                return owner(*args, **kwargs)  # as modules are called, so that the capture sees whose call it is
        return self._apply(self.value(node.func, frame), args, kwargs)

    def _apply(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if isinstance(function, _Bound):
            return self.function(function, args, kwargs)
        if isinstance(function, Class):
            return self._made(function, args, kwargs)
        if not isinstance(function, _Named):
            raise BadFile(f"{self.where}: its code calls {type(function).__name__}", expected="a function")
        space, _, name = function.text.rpartition(".")
        if space == "ops.prim" and name in PRIM:
            plain = [constant(a) for a in args]
            weighed(plain)
            return PRIM[name](*plain)
        if space not in ("torch", "ops.aten"):
            raise unknown(function.text, self.where)
        return called(name, args, kwargs, self.where)

    def _made(self, kind: Class, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """An object of a class of the program."""
        if kind.base == "NamedTuple":
            made = self.types.get(kind.name)
            if made is None:
                made = self.types[kind.name] = namedtuple(kind.name.rpartition(".")[2], kind.fields, rename=True)
            return made(*args, **kwargs)
        instance = Instance(kind)
        if "__init__" in kind.methods:
            self.method(instance, kind, "__init__", args, kwargs)
        return instance

    def _builtin(self, name: str, args: Sequence[Any]) -> Any:
        args = [constant(a) for a in args]
        if name == "int":
            (value,) = args
            return value if isinstance(value, (int, torch.SymInt)) else int(value)
        if name == "float":
            (value,) = args
            return torch.sym_float(value) if isinstance(value, torch.SymInt) else float(value)
        if name == "range":
            made = range(*(int(a) for a in args))
            if len(made) > MOST_ITEMS:
                raise Unsupported(f"{self.where}: a loop of {len(made):,} turns", expected=f"at most {MOST_ITEMS:,}")
            return made
        found = _BUILTINS.get(name)
        if found is None:
            raise Unsupported(
                f"{self.where} calls {name[:60]}", expected="TorchScript's functions and operators of ATen"
            )
        return found(*args)


_BUILTINS: dict[str, Callable[..., Any]] = {"bool": bool, "tuple": tuple, "list": list,
                                            "len": len, "abs": abs, "zip": zip, "enumerate": enumerate}  # fmt: skip


def is_forward(name: str) -> bool:
    """``forward``, and ``forward__0``, one of several signatures of it."""
    return name == "forward" or (name.startswith("forward__") and name.removeprefix("forward__").isdecimal())


def shielded(run: Callable[[], Any], where: str) -> Any:
    """What ``run`` returns, with Python's own errors on nonsense as one of ours."""
    try:
        return run()
    except SpeedlightError:
        raise
    except RecursionError:
        raise BadFile(f"{where}: its code is too deep", expected="a network") from None
    except (KeyError, IndexError, AttributeError, ZeroDivisionError, OverflowError) as error:
        raise BadFile(
            f"{where}: its code fails: {type(error).__name__}: {str(error)[:160]}", expected="a network"
        ) from None
