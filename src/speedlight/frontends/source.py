"""A model source as the user names it → a graph.

Tried in this order: ``file.py:factory`` or ``package.module:factory`` (a PyTorch module), an existing file or folder,
a bundled name (or the hub id or alias of one), a folder of further configurations, a hub id.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .._foundation.errors import BadInput, UnknownName, Unsupported
from ..graph.ir import Graph

if TYPE_CHECKING:
    from .hf.config import Config

_FACTORY = re.compile(r"^(?P<place>[^:]+\.py|[A-Za-z_]\w*(?:\.\w+)*):(?P<name>[A-Za-z_]\w*(?:\.\w+)*)$")
_LATER = {".onnx": "ONNX files", ".gguf": "GGUF files", ".pt2": "exported programs", ".safetensors": "bare safetensors"}


@lru_cache(maxsize=64)
def load_graph(
    source: str,
    inputs: tuple[str, ...] = (),
    dtype: str | None = None,
    weights: str | None = None,
    activations: str | None = None,
    kv: str | None = None,
    models_dir: str | None = None,
    mtp: int = 0,
    layout: str | None = None,
) -> Graph:
    """The graph of a model source.

    Args:
        source: see the module docstring.
        inputs: input shapes of a captured module (``1x3x224x224[:dtype]``).
        dtype, weights, activations, kv: formats that override the configuration's.
        models_dir: folder of configuration files (``name.json``), searched after the bundled names.
        mtp: draft passes of multi-token prediction that a step runs.
        layout: ``channels_last`` for a captured module whose images lie so.

    Raises:
        UnknownName: suggesting the nearest bundled names.
        BadInput, BadFile: for a source that cannot be used.
    """
    if not source or len(source) > 4096 or "\0" in source:
        raise BadInput(f"the model source {source[:40]!r} is no name", expected="a path, a model id or file.py:factory")
    if layout not in (None, "channels_last"):
        raise BadInput(f"the layout {layout!r} is not known", expected="channels_last, or none")
    match = _FACTORY.match(source)
    if match and not Path(source).exists():
        from .torch_export import capture

        if weights or activations or kv or mtp:
            raise Unsupported("a captured module keeps its own formats", hint="use --dtype, or build it quantised")
        return capture(source, inputs, dtype=dtype, channels_last=layout == "channels_last")
    if layout is not None:
        raise BadInput("--layout is for PyTorch modules", expected="a source of the form file.py:factory")
    if inputs:
        raise BadInput("--input is for PyTorch modules", expected="a source of the form file.py:factory")
    from .hf.load import load_hf

    found = _configuration(source, models_dir)
    graph = load_hf(found, dtype, weights, activations, kv, mtp)[2]
    return graph.replace(name=_label(str(found if isinstance(found, Path) else found.where)))


def _label(where: str) -> str:
    """What answers call the model: its bundled or hub id, or its file's (or folder's) name."""
    path = Path(where)
    if path.is_dir() or path.name == "config.json":
        return (path if path.is_dir() else path.parent).resolve().name
    return path.stem if path.suffix == ".json" else where


def _configuration(source: str, models_dir: str | None) -> Config | Path:
    """The configuration of a name, or the file or folder to read it from."""
    from .hf.config import Config
    from .zoo import zoo_entry, zoo_ids

    path = Path(source)
    if path.suffix in _LATER and path.exists():
        raise Unsupported(f"{_LATER[path.suffix]} are not read by this version", hint="give the model's config.json")
    if path.exists() or path.suffix == ".json":
        return path
    entry = zoo_entry(source)
    if entry is not None:
        return Config(entry["config"], entry["id"])
    if models_dir is not None:
        found = _in_folder(source, Path(models_dir))
        if found is not None:
            return found
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        from .hf.hub import fetch_config

        return fetch_config(source)
    raise UnknownName("model", source, zoo_ids(), "speedlight models")


def _in_folder(source: str, folder: Path) -> Path | None:
    """``org/name`` → ``org--name.json``; a basename fits when one file ends in it."""
    exact = folder / f"{source.replace('/', '--')}.json"
    if exact.is_file():
        return exact
    wanted = source.rsplit("/", 1)[-1].lower()
    fitting = [p for p in sorted(folder.glob("*.json")) if p.stem.rsplit("--", 1)[-1].lower() == wanted]
    return fitting[0] if len(fitting) == 1 else None
