"""Fit files: one ``.npz`` a family, a JSON header beside one array of float16 tables. Packaged in ``costs/fits``.

Tables stay float16 views of the file until a class of them is read.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..._foundation.errors import BadFile
from ..._foundation.files import write_atomically
from .blocks import Axis, Block
from .choice import Choice, Tree
from .header import read_header
from .model import Fit, Fitted, Part, Spread


def save(fit: Fit, path: str | Path) -> None:
    """Write a fit; equal fits give equal bytes."""
    values: list[np.ndarray] = []
    offset = 0

    def pack(fitted: Fitted) -> dict[str, Any]:
        nonlocal offset
        block = fitted.block
        classes = []
        for cls, table in sorted(fitted.tables.items()):
            classes.append({"class": list(cls), "offset": offset})
            values.append(np.asarray(table, dtype=np.float16))
            offset += table.size
        axes = [[a.coord, a.low, a.high, a.step] for a in block.axes]
        return {"term": block.term, "axes": axes, "per": list(block.per), "classes": classes}

    parts = [
        {
            "partition": list(cls),
            "parallel": list(part.parallel),
            "serial": list(part.serial),
            "power": part.power,
            "blocks": [pack(f) for f in part.blocks],
            "scale": [pack(f) for f in part.spread.scale],
            "quantiles": [[list(k), list(v)] for k, v in sorted(part.spread.quantiles.items())],
            "shared": dict(sorted(part.spread.shared.items())),
            "devices": sorted(map(list, part.devices)),
            "architectures": sorted(part.architectures),
            "choice": _pack_choice(part.choice),
        }
        for cls, part in sorted(fit.parts.items())
    ]
    header = {**fit.header, "partition": list(fit.partition), "parts": parts}
    text = np.frombuffer(json.dumps(header, ensure_ascii=False, sort_keys=True).encode(), dtype=np.uint8)
    arrays = {"header": text, "values": np.concatenate(values) if values else np.zeros(0, np.float16)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            packed = io.BytesIO()
            np.save(packed, array)
            archive.writestr(member, packed.getvalue(), COMPRESSION[name])
    write_atomically(path, buffer.getvalue())


# Text deflates to a tenth; tables hardly at all, and inflating them would be half the time of reading a fit.
COMPRESSION = {"header": zipfile.ZIP_DEFLATED, "values": zipfile.ZIP_STORED}
EPOCH = (1980, 1, 1, 0, 0, 0)  # equal fits give equal bytes


def load(data: bytes, where: str) -> Fit:
    """Read a fit file.

    Raises:
        BadFile: if it is none.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            header = msgspec.json.decode(archive["header"].tobytes())
            values = archive["values"]
        parts = {tuple(p["partition"]): _part(p, values) for p in header.pop("parts")}
        partition = tuple(header.pop("partition"))
        read_header(header, where)
        return Fit(header["family"], header, partition, parts)
    except (
        ValueError,
        KeyError,
        IndexError,
        OSError,
        TypeError,
        EOFError,
        zipfile.BadZipFile,
        msgspec.MsgspecError,
    ) as error:
        raise BadFile(
            f"{where}: {error}", expected="a fit file written by `python -m speedlight.costs.refit`"
        ) from None


_INSTEAD: dict[str, Fit] = {}


@contextmanager
def instead(fit: Fit) -> Iterator[None]:
    """Everything priced inside rests on this fit of its family: how whole models are validated with a device left out."""
    before = _INSTEAD.get(fit.family)
    _INSTEAD[fit.family] = fit
    try:
        yield
    finally:
        if before is None:
            del _INSTEAD[fit.family]
        else:
            _INSTEAD[fit.family] = before


def shipped(family: str) -> Fit | None:
    """The fit that comes with Speedlight, or None where the family has none; another inside :func:`instead`."""
    return _INSTEAD.get(family) or _packaged(family)


@lru_cache(maxsize=64)
def _packaged(family: str) -> Fit | None:
    entry = files("speedlight.costs") / "fits" / f"{family}.npz"
    if not entry.is_file():
        return None
    return load(entry.read_bytes(), f"{family}.npz")


def _part(data: Mapping[str, Any], values: np.ndarray) -> Part:
    def unpack(item: Mapping[str, Any]) -> Fitted:
        axes = tuple(Axis(*a) for a in item["axes"])
        block = Block(item["term"], axes, tuple(item["per"]))
        if any(not 0 <= c["offset"] <= values.size - block.size for c in item["classes"]):
            raise ValueError(f"a table of {block.term} lies beyond the values")
        tables = {tuple(c["class"]): values[c["offset"] : c["offset"] + block.size] for c in item["classes"]}
        return Fitted(block, tables)

    spread = Spread(
        tuple(unpack(s) for s in data["scale"]),
        {tuple(k): (v[0], v[1]) for k, v in data["quantiles"]},
        data["shared"],
    )
    return Part(
        tuple(data["parallel"]), tuple(data["serial"]), data["power"], tuple(unpack(b) for b in data["blocks"]), spread,
        frozenset((d[0], d[1], d[2]) for d in data["devices"]), frozenset(data["architectures"]), _unpack_choice(data["choice"]),
    )  # fmt: skip


def _pack_choice(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    return {"coords": list(choice.coords), "trees": [[list(k), asdict(t)] for k, t in sorted(choice.trees.items())]}


def _unpack_choice(data: Mapping[str, Any] | None) -> Choice | None:
    if data is None:
        return None
    trees = {tuple(k): Tree(**{n: tuple(v) for n, v in t.items()}) for k, t in data["trees"]}
    return Choice(tuple(data["coords"]), trees)
