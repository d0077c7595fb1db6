"""Docstrings point at what exists: every ``:mod:``, ``:func:``, ``:class:`` … names a module of ours or something in one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"
ROLE = re.compile(r":(?:mod|func|class|data|meth|attr|exc):`~?([^`]+)`")


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


@cache
def _names(module: str) -> frozenset[str]:
    """What a module holds: names bound anywhere at its top, and members of its classes as ``Class.member``."""

    def bound(nodes: list[ast.stmt], prefix: str = "") -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from bound(node.body, f"{node.name}.")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (prefix + n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from (prefix + (alias.asname or alias.name) for alias in node.names)
            if isinstance(node, ast.If | ast.Try):
                yield from bound([*node.body, *node.orelse], prefix)

    return frozenset(bound(ast.parse(MODULES[module].read_text()).body))


def _exists(name: str) -> bool:
    parts = name.split(".")
    homes = (i for i in range(len(parts), 0, -1) if ".".join(parts[:i]) in MODULES)
    home = next(homes, 0)
    return home == len(parts) or (home > 0 and ".".join(parts[home:]) in _names(".".join(parts[:home])))


def broken(module: str, text: str) -> Iterator[str]:
    """References of a module's text that lead nowhere. Leading dots count packages upwards, as in imports."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for target in ROLE.findall(text):
        rest = target.lstrip(".")
        dots = len(target) - len(rest)
        if dots:
            ok = _exists(".".join([*package.split(".")[: package.count(".") + 2 - dots], rest]))
        else:
            own = any(name == rest or name.endswith(f".{rest}") for name in _names(module))
            ok = own or _exists(rest)
        if not ok:
            yield target


def test_references_lead_somewhere() -> None:
    count = 0
    for module, path in MODULES.items():
        text = path.read_text()
        count += len(ROLE.findall(text))
        assert not list(broken(module, text)), path
    assert count > 300


def test_a_moved_module_would_be_noticed() -> None:
    module = "speedlight.engine.training.step"
    good = ":mod:`.layout`, :func:`.layout.step_of`, :class:`...workload.workload.Training`, :func:`training_step`"
    assert not list(broken(module, good))
    for bad in (".moved", ".layout.gone", "..workload.workload.Training", "elsewhere"):
        assert list(broken(module, f":func:`{bad}`")) == [bad]
