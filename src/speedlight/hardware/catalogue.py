"""The machines that ship: one YAML file per variant, found by id, alias or driver string, loaded when asked for.

An index (``catalogue/index.json``, built by ``scripts/index_catalogue.py`` and checked by a test) maps every name to
its file, so that one machine costs one file's parsing.

Three sorts of names: *ids* and *names* (aliases and driver strings) mean one machine to anybody; *tables* are
spellings of measurement tables, which know what they mean by ``H100`` while a person must say which.
"""

from __future__ import annotations

import dataclasses
import json
import re
from contextvars import ContextVar
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from .._foundation.errors import BadFile, BadInput, UnknownName
from .._foundation.files import parse_json, parse_yaml, read_text
from .cluster import named_cluster
from .machine import Machine

_ROOT = files(__package__) / "catalogue"
_SUFFIXES = (".yaml", ".yml", ".json")
_ANOTHER = re.compile(r"^(?P<name>.+)#(?P<number>[1-9][0-9]{0,3})$")
_OPEN: ContextVar[tuple[str, ...]] = ContextVar("machine files being read", default=())


@lru_cache(maxsize=1)
def index() -> dict[str, Any]:
    """``{"files": {id: path}, "names": {folded alias or driver string: id}, "tables": {folded table string: id}}``."""
    return json.loads((_ROOT / "index.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def machine_ids() -> list[str]:
    """Ids of all shipped machines, devices and systems."""
    return sorted(index()["files"])


@lru_cache(maxsize=256)
def _bundled(machine_id: str) -> Machine:
    from .load import parse_machine  # msgspec and yaml load with the first machine, not with the package

    path = index()["files"][machine_id]
    text = (_ROOT / path).read_text(encoding="utf-8")
    return parse_machine(parse_yaml(text, path, trusted=True), path, lambda name: load_machine(name))


def fold(name: str) -> str:
    """The form in which names are compared: lower-case words joined by one hyphen.

    Everything but letters, digits, ``.`` and ``+`` (Xeon 8480+) parts words, so that ``NVIDIA_H100 (80GB)`` and
    ``nvidia-h100-80gb`` are one name.
    """
    return re.sub(r"[^a-z0-9.+]+", "-", name.lower()).strip("-")


def load_machine(name: str, machines_dir: str | Path | None = None, *, table: bool = False) -> Machine:
    """A machine by id, alias, driver string, unambiguous short name or file path; ``here`` describes this one.

    A name of another machine with a number, ``dgx-h100x16``, is that many of it (:mod:`.cluster`); ``iphone-13#2`` is another one of
    the same, for questions about two of them that share nothing.

    Args:
        name: what the user typed (``h100-sxm-80gb``, ``NVIDIA H200``, ``my.yaml``, ``here``).
        machines_dir: a folder of the user's own machine files, searched after the catalogue.
        table: the name comes from a measurement table: spellings that a person would be asked about (``H100``,
            ``a100``) mean what that table means by them.

    Raises:
        UnknownName: suggesting the nearest ids.
        BadInput: if a short name fits several variants.
        BadFile: if a file cannot be used.
    """
    same = _ANOTHER.match(name)
    if same is not None:
        one = load_machine(same["name"], machines_dir, table=table)
        return dataclasses.replace(one, id=f"{one.id}#{same['number']}")
    if name == "here":
        from .here import describe

        return describe()
    if name.endswith(_SUFFIXES):
        return load_file(name, machines_dir)
    key = fold(name)
    known = index()
    for names in (known["names"], known["tables"] if table else {}):
        if key not in known["files"] and key in names:
            key = names[key]
    if key in known["files"]:
        return _bundled(key)
    if machines_dir is not None:
        for suffix in _SUFFIXES:
            path = Path(machines_dir) / f"{name}{suffix}"
            if path.is_file():
                return load_file(path, machines_dir)
    fitting = sorted(i for i in known["files"] if key and i.startswith(key + "-"))
    if len(fitting) == 1:
        return _bundled(fitting[0])
    if fitting:
        raise BadInput(
            f"machine {name!r} names {len(fitting)} variants",
            expected="one of " + ", ".join(fitting),
            hint="form factor and memory change the answer",
        )
    joined = named_cluster(name, lambda box: load_machine(box, machines_dir, table=table))
    if joined is not None:
        return joined
    raise UnknownName("machine", name, machine_ids(), "speedlight devices")


def load_file(path: str | Path, machines_dir: str | Path | None = None) -> Machine:
    """A user's own machine file (YAML or JSON, at most 1 MiB).

    Args:
        path: the file.
        machines_dir: where a system's ``device`` is looked for besides the catalogue; the file's own folder by default.

    Raises:
        BadFile: if it cannot be read or used, naming the field.
    """
    from .load import parse_machine

    own = str(Path(path).absolute())
    if own in _OPEN.get():
        raise BadFile(f"{path} refers to itself", expected="a system whose device is a single device")
    text = read_text(path, "machine", limit=2**20)
    data = parse_json(text, str(path)) if str(path).endswith(".json") else parse_yaml(text, str(path))
    beside = Path(path).parent if machines_dir is None else machines_dir
    token = _OPEN.set((*_OPEN.get(), own))
    try:
        return parse_machine(data, str(path), lambda name: load_machine(_beside(name, Path(path)), beside))
    finally:
        _OPEN.reset(token)


def _beside(name: str, referring: Path) -> str:
    """A path that a file names is looked for beside it, before the folder one works in."""
    own = referring.parent / name
    return str(own) if name.endswith(_SUFFIXES) and own.is_file() else name


def build_index(root: Path) -> dict[str, Any]:
    """Read every file under ``root`` and collect the names.

    Raises:
        BadInput: if two files claim one name, or a file is not called after its id.
    """
    table: dict[str, dict[str, str]] = {"files": {}, "names": {}, "tables": {}}
    entries = []
    for path in sorted(root.rglob("*.yaml")):
        data = parse_yaml(path.read_text(encoding="utf-8"), str(path), trusted=True)
        machine_id = data["id"]
        if machine_id in table["files"] or path.stem != machine_id or fold(machine_id) != machine_id:
            raise BadInput(f"{path} claims the id {machine_id!r}", expected="one file per id, named after it")
        table["files"][machine_id] = path.relative_to(root).as_posix()
        entries.append((path, machine_id, data))
    for section, fields in (("names", ("aliases", "device_strings")), ("tables", ("table_names",))):
        for path, machine_id, data in entries:
            for spelling in (s for f in fields for s in data.get(f, [])):
                key = fold(spelling)
                claimed = key if key in table["files"] else table["names"].get(key, table["tables"].get(key))
                if claimed not in (None, machine_id):
                    raise BadInput(f"{path} and {claimed} both claim the name {spelling!r}")
                if claimed is None:
                    table[section][key] = machine_id
    return table
