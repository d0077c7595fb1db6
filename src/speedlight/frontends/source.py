"""A model source as the user names it → a graph.

Tried in this order: ``file.py:factory`` or ``package.module:factory`` (a PyTorch module), a weight file by its ending
(``.gguf`` also by URL or hub id), a file of ops, another existing file or folder, a bundled name (or the hub id or alias
of one), a folder of further configurations, a hub id.
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
_LATER = {".onnx": "ONNX files"}
_HUB_TAG = re.compile(r"^[\w.-]+/[\w.-]+:[\w.-]+$")  # org/repo:Q4_K_M
_PROGRAMS = (".pt2",)  # torch.export.save
_ARCHIVES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".torchscript")  # pickles and TorchScript


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
    match = _FACTORY.match(source)
    if match and not Path(source).exists():
        from .torch_export import capture

        if weights or activations or kv or mtp:
            raise Unsupported("a captured module keeps its own formats", hint="use --dtype, or build it quantised")
        return capture(source, inputs, dtype=dtype, channels_last=layout == "channels_last")
    if layout is not None:
        raise BadInput("--layout is for PyTorch modules", expected="a source of the form file.py:factory")
    if Path(source).suffix.lower() in _PROGRAMS:
        from .pt2 import load_program

        if weights or activations or kv or mtp or dtype:
            raise Unsupported("an exported program keeps its own formats", hint="export the model in the wanted dtype")
        return load_program(source, inputs)
    if inputs:
        raise BadInput("--input is for PyTorch modules", expected="a source of the form file.py:factory or a .pt2 file")
    if Path(source).suffix.lower() in _ARCHIVES and Path(source).exists():
        from .pt2.archives import refuse

        refuse(Path(source))
    from .op_list import is_op_list, load_op_list

    if is_op_list(source):
        if weights or activations or kv or mtp:
            raise Unsupported("an ops file states its own formats", hint="use --dtype, or state them in the file")
        return load_op_list(source, dtype)
    found = _weights(source, dtype, weights, activations, kv, mtp)
    return found if found is not None else _configured(source, dtype, weights, activations, kv, models_dir, mtp)


def _weights(
    source: str, dtype: str | None, weights: str | None, activations: str | None, kv: str | None, mtp: int
) -> Graph | None:
    """The graph of a weight file that says itself what it is; None where the source is none."""
    if source.lower().endswith(".gguf") or (_HUB_TAG.match(source) and not Path(source).exists()):
        if dtype or weights or mtp:
            raise Unsupported(
                "a GGUF file has the weight formats it has", expected="--activations and --kv at most",
                hint="to ask about other formats, give the model's config.json with --weights q4_k (or another format)",
            )  # fmt: skip
        from .gguf_file import load_gguf

        return load_gguf(source, activations, kv)
    path = Path(source)
    folder = path.is_dir() and not (path / "config.json").exists()
    if source.lower().endswith((".safetensors", ".safetensors.index.json")) or folder:
        from .hf.bare import load_safetensors

        return load_safetensors(path, dtype, weights, activations, kv, mtp)
    return None


def _configured(
    source: str, dtype: str | None, weights: str | None, activations: str | None, kv: str | None,
    models_dir: str | None, mtp: int,
) -> Graph:  # fmt: skip
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
