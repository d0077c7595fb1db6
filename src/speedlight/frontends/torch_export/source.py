"""``file.py:factory`` or ``package.module:factory`` → an ``nn.Module``.

This runs the user's code, as Python's ``import`` does, because the user named it. Whatever that code raises becomes one
:class:`BadInput` that says where; what it prints goes to stderr, since stdout carries results.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from ..._foundation.errors import BadFile, BadInput, SpeedlightError
from .reasons import place_of, short

FORM = "file.py:factory or package.module:factory, a function without arguments that returns an nn.Module"


def find(spec: str) -> Any:
    """The object the source names: a factory, a class or a module instance.

    Raises:
        BadFile: a file that is missing or is no Python.
        BadInput: any other way the name leads nowhere.
    """
    if not isinstance(spec, str) or not spec.strip() or "\0" in spec or len(spec) > 4096:
        raise BadInput("the module source is no name", expected=FORM)
    place, colon, name = spec.strip().rpartition(":")
    if not colon or not place or not name:
        raise BadInput(f"{spec!r} names no factory", expected=FORM)
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadInput(f"the factory name {name!r} is no Python name", expected=FORM)
    with _quiet_stdout():
        found: Any = _file(Path(place)) if place.endswith(".py") else _package(place)
    for part in name.split("."):
        if not hasattr(found, part):
            known = [n for n, v in vars(found).items() if not n.startswith("_") and callable(v)][:8]
            raise BadInput(
                f"{place} has no {part!r}",
                expected="the name of a factory, a class or an nn.Module in it",
                hint="it has " + ", ".join(known) if known else "it defines nothing to call",
            )
        found = getattr(found, part)
    return found


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadFile(f"the file {str(path)!r} does not exist", expected=FORM, hint="paths start at the current folder")
    name = "_speedlight_source_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    loader = importlib.util.spec_from_file_location(name, path)
    if loader is None or loader.loader is None:
        raise BadFile(f"{str(path)!r} is no Python file", expected=FORM)
    module = importlib.util.module_from_spec(loader)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # as `python file.py` does, for the files beside it
    try:
        loader.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        sys.modules.pop(name, None)
        raise _failed(f"the file {str(path)!r} cannot be imported", error) from error
    finally:
        sys.path.remove(folder)
    return module


def _package(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadInput(f"{name!r} is no Python package", expected=FORM)
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _failed(f"the package {name!r} cannot be imported", error) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _failed(what: str, error: BaseException) -> SpeedlightError:
    if isinstance(error, SpeedlightError):
        return error
    if isinstance(error, SyntaxError):
        return BadFile(f"{what}: syntax error at line {error.lineno}: {error.msg}", expected="Python source")
    hint = "install the missing package" if isinstance(error, ImportError) else ""
    return BadInput(f"{what}: {short(error)}{place_of(error)}", expected="code that runs without errors", hint=hint)


def build(found: Any, spec: str) -> Any:
    """Call the factory (without allocating weights) or copy the instance; an ``nn.Module`` comes back.

    Raises:
        BadInput: if it needs arguments, raises, or returns something else.
    """
    from torch import nn

    from .building import ghost, weightless

    if isinstance(found, nn.Module):
        return ghost(found)
    if not callable(found):
        raise BadInput(f"{spec} is {_article(found)}, nothing to call", expected=FORM)
    _takes_nothing(found, spec)
    try:
        with _quiet_stdout(), weightless():
            module = found()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        module = _build_for_real(found, spec, error)
    if not isinstance(module, nn.Module):
        raise BadInput(f"{spec} returned {_article(module)}", expected="an nn.Module")
    return module


def _build_for_real(found: Any, spec: str, first: BaseException) -> Any:
    """Some constructors look at the values of large tensors or load files: once more, with memory."""
    if not _wanted_data(first):
        raise _failed(f"{spec} failed", first) from first
    try:
        with _quiet_stdout():
            return found()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _failed(f"{spec} failed", error) from error


def _wanted_data(error: BaseException) -> bool:
    text = str(error).lower()
    return any(word in text for word in ("meta", "no data", "storage", "data pointer", "numpy", "data_ptr"))


def _takes_nothing(found: Any, spec: str) -> None:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        p.name for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]  # fmt: skip
    if needed:
        raise BadInput(
            f"{spec} needs the arguments {', '.join(needed)}",
            expected="a factory that is called without arguments",
            hint="write a function that passes them: def factory(): return Net(…)",
        )


def _article(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    with redirect_stdout(sys.stderr):
        yield
