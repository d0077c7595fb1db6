"""Records of a TorchScript archive → an ``nn.Module`` without memory for its weights. Imports torch."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..._foundation.errors import BadFile, Unsupported
from .interpret import NOTHING, Held, Instance, Interpreter, is_forward, shielded
from .objects import TensorRecord, Thing
from .program import Class, Program

_META = torch.device("meta")
_NAME = re.compile(r"\w{1,200}")
_DEEPEST = 100
_MOST_VALUES = 100_000  # in lists of attributes, counted as often as they are referred to


class Script(nn.Module):  # type: ignore[misc]
    """A module of the archive; ``forward`` interprets its code.

    Attributes:
        script_class: its class in the program.
        script_values: attributes that are neither parameters, buffers nor modules.
    """

    script_class: Class
    interpreter: Interpreter
    root = False

    def __init__(self) -> None:
        super().__init__()
        self.script_values: dict[str, Any] = {}

    def script_attribute(self, name: str) -> Any:
        """An attribute as the program sees it; ``NOTHING`` where it has none of that name."""
        if name == "training":
            return self.training
        for table in (self._parameters, self._buffers, self._modules, self.script_values):
            if name in table:
                return table[name]
        return NOTHING

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        interpreter, kind = self.interpreter, self.script_class
        name, interpreter.chosen = "" if self.root else interpreter.chosen, ""
        name = name or first_forward(kind)
        if not self.root:
            return interpreter.method(self, kind, name, args, kwargs)
        interpreter.start()
        return shielded(lambda: interpreter.method(self, kind, name, args, kwargs), interpreter.where)


def assembled(root: Any, constants: Any, program: Program, where: str) -> nn.Module:
    """The archive's module.

    Args:
        root, constants: what its two pickles hold.

    Raises:
        BadFile: for records that are no module.
        Unsupported: for programs without ``forward``.
    """
    if not isinstance(root, Thing) or not isinstance(constants, (list, tuple)):
        raise BadFile(f"{where} holds no module", expected="a file that torch.jit.save wrote")
    maker = _Maker(program, where)
    maker.interpreter.constants = [maker.constant(c, n) for n, c in enumerate(constants)]
    module = maker.value(root, 0)
    if not isinstance(module, Script) or not first_forward(module.script_class):
        raise Unsupported(f"{where} holds {root.name[:80]} without a forward", expected="a scripted or traced module")
    module.root = True
    maker.settle()
    if maker.held._parameters or maker.held._buffers:
        module._modules["constants"] = maker.held
    return module


def _key(record: TensorRecord) -> tuple[Any, ...]:
    return (record.storage, record.offset, record.shape, record.strides)


def first_forward(kind: Class) -> str:
    """The method a module of this class is called by; nothing without one."""
    return min(filter(is_forward, kind.methods), default="")


class _Maker:
    """Makes each thing and each tensor once, so that what is shared stays shared."""

    def __init__(self, program: Program, where: str) -> None:
        self.program, self.where = program, where
        self.interpreter = Interpreter(program, (), where)
        self.held = nn.Module()  # weights that freezing a module made constants
        self._things: dict[int, Any] = {}
        self._tensors: dict[tuple[Any, ...], torch.Tensor] = {}
        self._loose: dict[tuple[Any, ...], TensorRecord] = {}
        self._types: dict[str, type[Script]] = {}
        self._values = 0

    def value(self, record: Any, depth: int) -> Any:
        """Modules, tensors and plain values from their records."""
        self._values += depth > 0 and not isinstance(record, Thing)
        if depth > _DEEPEST or self._values > _MOST_VALUES:
            what = f"{_DEEPEST} things in one another" if depth > _DEEPEST else f"{_MOST_VALUES:,} values in lists"
            raise BadFile(f"{self.where}: more than {what}", expected="a module")
        if isinstance(record, TensorRecord):
            key = _key(record)
            self._loose.setdefault(key, record)
            return Held(key)
        if isinstance(record, list):
            return [self.value(r, depth + 1) for r in record]
        if isinstance(record, tuple):
            return tuple(self.value(r, depth + 1) for r in record)
        if isinstance(record, dict):
            return {k: self.value(v, depth + 1) for k, v in record.items()}
        return self._thing(record, depth) if isinstance(record, Thing) else record

    def tensor(self, record: TensorRecord, owner: nn.Module, name: str, parameter: bool) -> torch.Tensor:
        """A tensor without memory, an attribute of its owner; one place in one storage is one tensor."""
        key = _key(record)
        found = self._tensors.get(key)
        if found is None:
            found = torch.empty_strided(record.shape, record.strides, dtype=getattr(torch, record.dtype), device=_META)
            if parameter:
                found = nn.Parameter(found, requires_grad=found.is_floating_point() and record.requires_grad)
            self._tensors[key] = found
        (owner._parameters if isinstance(found, nn.Parameter) else owner._buffers)[name] = found
        self.interpreter.places.setdefault(key, (owner, name))
        return found

    def settle(self) -> None:
        """Give tensors that lie in lists only an owner."""
        for number, (key, record) in enumerate(self._loose.items()):
            if key not in self.interpreter.places:
                self.tensor(record, self.held, f"t{number}", parameter=False)

    def constant(self, record: Any, number: int) -> Any:
        """Numbers stay records, whose value their user asks for; what is larger is a weight."""
        if not isinstance(record, TensorRecord):
            return self.value(record, 0)
        if record.number is not None:
            return record
        self.tensor(record, self.held, f"c{number}", parameter=True)
        return Held(_key(record))

    def _thing(self, thing: Thing, depth: int) -> Any:
        if id(thing) in self._things:
            return self._things[id(thing)]
        kind = self.program.classes.get(thing.name)
        if kind is None:
            raise BadFile(f"{self.where}: the class {thing.name[:80]} has no code", expected="a whole archive")
        if kind.base != "Module":
            instance = self._things[id(thing)] = Instance(kind)
            instance.attributes.update({k: self.value(v, depth + 1) for k, v in thing.attributes.items()})
            return instance
        module = self._things[id(thing)] = self._type(kind)()
        for name, record in thing.attributes.items():
            if not _NAME.fullmatch(name):
                raise BadFile(f"{self.where}: an attribute called {name[:60]!r}", expected="names of attributes")
            self._attribute(module, kind, name, record, depth)
        return module

    def _attribute(self, module: Script, kind: Class, name: str, record: Any, depth: int) -> None:
        if isinstance(record, TensorRecord):
            self.tensor(record, module, name, parameter=name in kind.parameters)
            return
        value = self.value(record, depth + 1)
        if name == "training":
            module.training = bool(value)
        elif isinstance(value, nn.Module):
            module._modules[name] = value
        else:
            module.script_values[name] = value

    def _type(self, kind: Class) -> type[Script]:
        """A Python class of that name, whose ``forward`` has the program's signature."""
        if kind.name not in self._types:
            attributes: Mapping[str, Any] = {
                "script_class": kind, "interpreter": self.interpreter, "forward": _forward(kind),
            }  # fmt: skip
            self._types[kind.name] = type(kind.name.rpartition(".")[2], (Script,), dict(attributes))
        return self._types[kind.name]


def _forward(kind: Class) -> Any:
    def forward(self: Script, *args: Any, **kwargs: Any) -> Any:
        return Script.forward(self, *args, **kwargs)

    node = kind.methods.get(first_forward(kind))
    names: Sequence[str] = [a.arg for a in node.args.args] if node is not None else ["self"]
    required = len(names) - (len(node.args.defaults) if node is not None else 0)
    forward.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=inspect.Parameter.empty if i < required else None)
        for i, n in enumerate(names)
    ])  # fmt: skip
    return forward
