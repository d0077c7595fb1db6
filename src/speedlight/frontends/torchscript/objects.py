"""The pickles of an archive → records. Opcodes are read and interpreted here; nothing is imported, built or called.

PyTorch's own pickler writes a small part of the language: plain values, lists and dictionaries, objects of the program's
classes with their attributes, and a handful of functions that stand for tensors and typed lists. Anything else is refused.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ..._foundation.errors import BadFile, Unsupported
from .archive import Archive

MOST_OPCODES = 1_000_000  # a network of 1,000 modules has some 50,000
MOST_ELEMENTS = 2**46
# PyTorch's storage classes → (its name of the dtype, bytes, how ``struct`` reads one).
STORAGES: dict[str, tuple[str, int, str]] = {
    "FloatStorage": ("float32", 4, "f"), "DoubleStorage": ("float64", 8, "d"), "HalfStorage": ("float16", 2, "e"),
    "BFloat16Storage": ("bfloat16", 2, ""), "LongStorage": ("int64", 8, "q"), "IntStorage": ("int32", 4, "i"),
    "ShortStorage": ("int16", 2, "h"), "CharStorage": ("int8", 1, "b"), "ByteStorage": ("uint8", 1, "B"),
    "BoolStorage": ("bool", 1, "?"), "ComplexFloatStorage": ("complex64", 8, ""), "ComplexDoubleStorage": ("complex128", 16, ""),
}  # fmt: skip
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


@dataclass(frozen=True)
class TensorRecord:
    """A tensor of the file.

    Attributes:
        storage: the member that holds its elements; tensors of one place in one storage are one tensor.
        number: its value, where it is a constant that holds one.
    """

    storage: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    number: complex | None = None


@dataclass(eq=False)
class Thing:
    """An object of one of the program's classes (``__torch__.…``) with its attributes."""

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Name:
    """A class or function the pickle refers to."""

    text: str


@dataclass(frozen=True)
class _Storage:
    member: str
    dtype: str
    itemsize: int
    form: str
    elements: int


_MARK = object()


def read_objects(data: bytes, folder: str, archive: Archive, where: str) -> Any:
    """The value a pickle describes; its storages lie in ``folder``.

    Raises:
        BadFile: for opcodes and names that PyTorch's pickler does not write.
        Unsupported: for quantised tensors and objects that restore themselves by code.
    """
    reader = _Reader(archive, where, folder)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > MOST_OPCODES:
                raise BadFile(
                    f"{where}: a pickle of more than {MOST_OPCODES:,} opcodes", expected="a module's attributes"
                )
            reader.take(opcode.name, argument)
        return reader.stack.pop()
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        struct.error,
        RecursionError,
    ) as error:
        raise BadFile(
            f"{where}: its pickle cannot be read: {str(error)[:120]}", expected="what torch.jit.save writes"
        ) from None


class _Reader:
    """A stack and a memo, as every pickle wants them."""

    def __init__(self, archive: Archive, where: str, folder: str) -> None:
        self.archive, self.where, self.folder = archive, where, folder
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "PROTO": lambda a: None, "STOP": lambda a: None, "MARK": lambda a: self.stack.append(_MARK),
            "EMPTY_TUPLE": lambda a: self.stack.append(()), "EMPTY_LIST": lambda a: self.stack.append([]),
            "EMPTY_DICT": lambda a: self.stack.append({}), "NONE": lambda a: self.stack.append(None),
            "NEWTRUE": lambda a: self.stack.append(True), "NEWFALSE": lambda a: self.stack.append(False),
            **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"),
                            self.stack.append),
            **dict.fromkeys(("BINPUT", "LONG_BINPUT"), self._put),
            **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda a: self.stack.append(self.memo[a])),
            "TUPLE": lambda a: self.stack.append(tuple(self._marked())), "TUPLE1": lambda a: self._tuple(1),
            "TUPLE2": lambda a: self._tuple(2), "TUPLE3": lambda a: self._tuple(3),
            "APPEND": lambda a: self._append([self.stack.pop()]), "APPENDS": lambda a: self._append(self._marked()),
            "SETITEM": lambda a: self._set(self._last(2)), "SETITEMS": lambda a: self._set(self._marked()),
            "GLOBAL": lambda a: self.stack.append(_Name(str(a).replace(" ", "."))),
            "BINPERSID": lambda a: self.stack.append(self._storage(self.stack.pop())),
            "REDUCE": lambda a: self._reduce(), "NEWOBJ": lambda a: self._new(), "BUILD": lambda a: self._build(),
        }  # fmt: skip

    def take(self, opcode: str, argument: Any) -> None:
        """Interpret one opcode."""
        step = self._steps.get(opcode)
        if step is None:
            raise BadFile(f"{self.where}: the pickle opcode {opcode}", expected="those that PyTorch's pickler writes")
        step(argument)

    def _put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def _last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("a value is missing")
        found = self.stack[-count:]
        del self.stack[-count:]
        return found

    def _tuple(self, count: int) -> None:
        found = tuple(self._last(count))
        self.stack.append(found)

    def _marked(self) -> list[Any]:
        """Everything since the last mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("a mark is missing")
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def _append(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("values for what is no list")
        self.stack[-1].extend(values)

    def _set(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(flat) % 2:
            raise ValueError("items for what is no dictionary")
        if not all(isinstance(k, (str, int, float)) for k in flat[::2]):
            raise ValueError("a key that is neither text nor number")
        target.update(zip(flat[::2], flat[1::2], strict=True))

    def _new(self) -> None:
        name, arguments = self._last(2)
        if not isinstance(name, _Name) or not name.text.startswith("__torch__.") or arguments != ():
            raise BadFile(
                f"{self.where}: its pickle makes {str(name)[:80]}", expected="objects of the program's classes"
            )
        self.stack.append(Thing(name.text))

    def _build(self) -> None:
        thing, state = self._last(2)
        if not isinstance(thing, Thing):
            raise ValueError("attributes for what is no object")
        if not isinstance(state, dict) or not all(isinstance(k, str) for k in state):
            raise Unsupported(
                f"{self.where}: the class {thing.name[:80]} restores itself by code", expected="modules of plain attributes",
                hint="packed quantised weights are such: explain the live module, or the model before it was quantised",
            )  # fmt: skip
        thing.attributes.update(state)
        self.stack.append(thing)

    def _storage(self, told: Any) -> _Storage:
        kind, storage_class, key, _, elements = told
        name = storage_class.text.removeprefix("torch.")
        if kind != "storage" or name not in STORAGES or not isinstance(elements, int) or not isinstance(key, str):
            raise BadFile(f"{self.where}: a storage of the kind {str(name)[:60]!r}", expected=", ".join(STORAGES))
        dtype, itemsize, form = STORAGES[name]
        member = self.folder + key
        held = self.archive.storages.get(member)
        if elements < 0 or (held is None and elements) or (held is not None and held < elements * itemsize):
            raise BadFile(
                f"{self.where}: {member[:60]} is said to hold {elements:,} elements of {dtype}",
                expected=f"{held or 0:,} bytes",
            )
        return _Storage(member, dtype, itemsize, form, elements)

    def _reduce(self) -> None:
        name, arguments = self._last(2)
        text = name.text if isinstance(name, _Name) else str(name)
        module, _, function = text.rpartition(".")
        if text == "torch._utils._rebuild_tensor_v2":
            made: Any = self._tensor(*arguments[:5])
        elif module == "torch.jit._pickle" and function in _LISTS:
            made = list(arguments[0])
        elif text == "torch.jit._pickle.restore_type_tag":
            made = arguments[0]
        elif text == "collections.OrderedDict":
            made = {}
        elif text == "torch.device":
            made = "cpu"  # shapes are the same everywhere
        elif module.startswith("__torch__.") and isinstance(arguments, (str, int, float)):
            made = arguments  # a member of an enumeration, by its value
        elif function.startswith("_rebuild_q"):
            raise Unsupported(f"{self.where} holds quantised tensors", expected="floating-point weights")
        else:
            raise BadFile(f"{self.where}: its pickle calls {text[:80]}", expected="tensors, lists and plain values")
        self.stack.append(made)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any) -> TensorRecord:
        whole = (offset, *shape, *strides)
        if len(shape) != len(strides) or len(shape) > 64 or not all(type(n) is int and n >= 0 for n in whole):
            raise ValueError("a tensor of no shape")
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1 if prod(shape) else 0
        if last > storage.elements or prod(shape) > MOST_ELEMENTS:
            raise ValueError(f"a tensor of {prod(shape):,} elements in a storage of {storage.elements:,}")
        number = None
        held = self.archive.numbers.get(storage.member, b"")
        if prod(shape) == 1 and storage.form and len(held) >= (offset + 1) * storage.itemsize:
            number = struct.unpack_from("<" + storage.form, held, offset * storage.itemsize)[0]
        return TensorRecord(
            storage.member, offset, storage.dtype, tuple(shape), tuple(strides), bool(requires_grad), number
        )
