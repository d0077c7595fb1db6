"""Well-known models that work offline: one small file of configuration facts each, found by id, hub id or alias.

A file holds ``id``, ``hub`` (the repository it describes, or null), ``source`` and ``grade`` of the facts, ``aliases`` and
``config``: the fields of ``config.json`` that matter to the graph. ``index.json`` (built by ``scripts/index_zoo.py`` and
checked by a test) maps every name to its file, so that one model costs one file's parsing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadInput
from ..._foundation.files import parse_json

_ROOT = Path(__file__).parent


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """Every folded name → id."""
    table: dict[str, str] = parse_json((_ROOT / "index.json").read_text(encoding="utf-8"), "zoo/index.json")
    return table


def zoo_ids() -> list[str]:
    """Ids of all bundled models."""
    return sorted(set(_names().values()))


def zoo_entry(name: str) -> dict[str, Any] | None:
    """A bundled model's facts by id, hub id, alias or the last part of a hub id; None for an unknown name.

    Returns:
        ``{"id", "hub", "source", "grade", "config"}`` (and ``aliases`` where there are any); a fresh copy each time.
    """
    names = _names()
    key = fold(name)
    found = names.get(key) or (names.get(key.rsplit("/", 1)[1]) if "/" in key else None)
    if found is None:
        return None
    entry: dict[str, Any] = parse_json(
        (_ROOT / "models" / f"{found}.json").read_text(encoding="utf-8"), f"zoo: {found}"
    )
    return entry


def fold(name: str) -> str:
    """The form in which names are compared: lower case, words joined by hyphens."""
    return "-".join(name.lower().replace("_", "-").split())


def build_index(folder: Path) -> dict[str, str]:
    """Read every model file and collect its names.

    Raises:
        BadInput: where two files claim one name, or a file is not named after its id.
    """
    table: dict[str, str] = {}
    entries = [
        (path, parse_json(path.read_text(encoding="utf-8"), str(path))) for path in sorted(folder.glob("*.json"))
    ]
    for path, entry in entries:
        if path.stem != entry["id"] or fold(entry["id"]) != entry["id"]:
            raise BadInput(
                f"{path} claims the id {entry['id']!r}", expected="a lower-case id, and the file named after it"
            )
        table[entry["id"]] = entry["id"]
    for certain in (True, False):  # what a file states wins over the short form of somebody's hub id
        for path, entry in entries:
            for name in _claims(entry, certain):
                owner = table.setdefault(fold(name), entry["id"])
                if owner != entry["id"] and certain:
                    raise BadInput(f"{path} and {owner} both claim the name {name!r}")
    return table


def _claims(entry: dict[str, Any], certain: bool) -> Iterator[str]:
    stated = [n for n in (entry["hub"], *entry.get("aliases", ())) if n]
    yield from stated if certain else [n.rsplit("/", 1)[1] for n in stated if "/" in n]
