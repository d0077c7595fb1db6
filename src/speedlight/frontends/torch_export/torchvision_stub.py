"""Makes ``import timm`` possible where torchvision is missing or does not import.

timm's model definitions use one class of torchvision (``FrozenBatchNorm2d``, in ``isinstance`` checks); its data
pipelines use more, which no capture runs. Where torchvision's compiled operators do not load (a wheel built for another
PyTorch), declaring the two operators its import looks up is enough; where the package is absent, empty stand-ins serve
while timm is imported, and are taken away again, so that nobody else finds half a package.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# What torchvision's import asks PyTorch for, by the schemas its documentation gives them.
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[Any] = []  # a library's declarations last as long as it does


@contextmanager
def torchvision_or_stub() -> Iterator[str]:
    """While open, ``import torchvision`` works; yields ``real``, ``declared`` or ``stub``."""
    if _imports():
        yield "real"
        return
    _forget()
    declare_operators()
    if _imports():
        yield "declared"
        return
    _forget()
    finder = _Stubs()
    sys.meta_path.insert(0, finder)
    try:
        yield "stub"
    finally:
        sys.meta_path.remove(finder)
        _forget()


def declare_operators() -> None:
    """Declare the operators that torchvision's import looks up, unless it has."""
    import torch

    library: Any = None
    for schema in OPERATORS:
        name = schema.partition("(")[0]
        if hasattr(torch.ops.torchvision, name):
            continue
        library = library or torch.library.Library("torchvision", "FRAGMENT")
        library.define(schema)
    if library is not None:
        _kept.append(library)


def _imports() -> bool:
    try:
        importlib.import_module("torchvision")
    except KeyboardInterrupt:
        raise
    except Exception:  # a mismatched build raises RuntimeError, OSError or AttributeError, as it happens
        return False
    return True


def _forget() -> None:
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]


class _Name(type):
    """Classes that have every public attribute: a class again (members of enumerations become keys of tables)."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Name(name, (), {})
        setattr(cls, name, made)
        return made


class _Stub(ModuleType):
    """A module in which every name is an empty class of its own."""

    __path__: list[str] = []  # noqa: RUF012  Python asks for it by this name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Name(name, (), {})
        setattr(self, name, made)
        return made


class _Stubs(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname == "torchvision" or fullname.startswith("torchvision."):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass
