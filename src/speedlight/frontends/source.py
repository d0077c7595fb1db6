"""A model source as the user names it → a graph.

Readers are asked in order; the first that takes the source reads it: ``file.py:factory`` or ``package.module:factory`` (a
PyTorch module), a file by its ending (``.onnx``, ``.pt2``, ``.pt`` with TorchScript, ``.gguf`` also by URL or hub id, ``.safetensors``), a file of ops
(or its content as JSON), one of timm's image models by timm's name, a carried network of the literature (``hardnet-68``), and else a configuration: itself as JSON
(``{"model_type": …}``), another file or folder, a bundled name (or the hub id or alias of one), a folder of further
configurations, a hub id.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .._foundation.errors import BadInput, UnknownName, Unsupported
from ..graph.ir import Graph

if TYPE_CHECKING:
    from .hf.config import Config

_FACTORY = re.compile(r"^(?P<place>[^:]+\.py|[A-Za-z_]\w*(?:\.\w+)*):(?P<name>[A-Za-z_]\w*(?:\.\w+)*)$")
_IMAGE_MODEL = re.compile(r"^(timm/)?[a-z0-9_]+(\.[a-z0-9_]+)?$")
_NETWORK = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9.]+)*$")
_HUB_TAG = re.compile(r"^[\w.-]+/[\w.-]+:[\w.-]+$")  # org/repo:Q4_K_M
# What torch.save and torch.jit.save write.
_ARCHIVES = (".pt", ".pth", ".ts", ".ptl", ".torchscript", ".bin", ".ckpt", ".pkl", ".pickle")
# What one may ask of a source beside its name, as options are called.
_OPTIONS = {
    "inputs": "--input", "dtype": "--dtype", "weights": "--weights", "activations": "--activations", "kv": "--kv",
    "mtp": "--mtp", "layout": "--layout",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A model source and what is asked of it; see :func:`load_graph`."""

    source: str
    inputs: tuple[str, ...] = ()
    dtype: str | None = None
    weights: str | None = None
    activations: str | None = None
    kv: str | None = None
    models_dir: str | None = None
    mtp: int = 0
    layout: str | None = None
    train: bool = False

    def only(self, what: str, *allowed: str, hint: str = "") -> None:
        """Refuse options that a sort of source does not take."""
        for name, option in _OPTIONS.items():
            if getattr(self, name) and name not in allowed:
                can = ", ".join(_OPTIONS[a] for a in allowed)
                raise Unsupported(f"{what} takes no {option}", expected=can or "its name alone", hint=hint)


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
    train: bool = False,
) -> Graph:
    """The graph of a model source.

    Args:
        source: see the module docstring.
        inputs: input shapes of a captured module or a file with free sizes (``1x3x224x224[:dtype]``, ``name=…``).
        dtype, weights, activations, kv: formats that override the configuration's.
        models_dir: folder of configuration files (``name.json``), searched after the bundled names.
        mtp: draft passes of multi-token prediction that a step runs.
        layout: ``channels_last`` for a captured module whose images lie so.
        train: the model will be trained: a module of the user's code is captured in training mode; other sources are as they are.

    Raises:
        UnknownName: suggesting the nearest bundled names.
        BadInput, BadFile: for a source that cannot be used.
        Unsupported: for an option that this sort of source does not take.
    """
    if not source or len(source) > 4096 or "\0" in source:
        raise BadInput(f"the model source {source[:40]!r} is no name", expected="a path, a model id or file.py:factory")
    if layout not in (None, "channels_last"):
        raise BadInput(f"the layout {layout!r} is not known", expected="channels_last, or none")
    asked = Asked(source, inputs, dtype, weights, activations, kv, models_dir, mtp, layout, train)
    for reader in (_ops,) if source.lstrip().startswith("{") else READERS:
        found = reader(asked)
        if found is not None:
            return found
    return _configured(asked)


def _module(asked: Asked) -> Graph | None:
    """A PyTorch module that the user's own code makes."""
    if not _FACTORY.match(asked.source) or Path(asked.source).exists():
        return None
    from .torch_export import capture

    hint = "a captured module keeps its own formats: use --dtype, or build it quantised"
    asked.only("a PyTorch module", "inputs", "dtype", "layout", hint=hint)
    last = asked.layout == "channels_last"
    return capture(asked.source, asked.inputs, dtype=asked.dtype, channels_last=last, train=asked.train)


def _onnx(asked: Asked) -> Graph | None:
    if not asked.source.lower().endswith(".onnx"):
        return None
    from .onnx_file import load_onnx

    asked.only("an ONNX file", "inputs", hint="convert the file, or export it in that format")
    return load_onnx(asked.source, asked.inputs)


def _program(asked: Asked) -> Graph | None:
    """What ``torch.export.save`` wrote."""
    if not asked.source.lower().endswith(".pt2"):
        return None
    from .pt2 import load_program

    asked.only("an exported program", "inputs", hint="export the model in the wanted dtype")
    return load_program(asked.source, asked.inputs)


def _archive(asked: Asked) -> Graph | None:
    """TorchScript; pickles say what they are, and that they are not opened."""
    path = Path(asked.source)
    if path.suffix.lower() not in _ARCHIVES or not path.exists():
        return None
    from .torchscript import is_torchscript, load_torchscript

    if not is_torchscript(path):
        from .pt2.archives import refuse

        refuse(path)
    asked.only("TorchScript", "inputs", "dtype", "layout", hint="it keeps its own formats: use --dtype")
    return load_torchscript(path, asked.inputs, asked.dtype, asked.layout == "channels_last", asked.train)


def _ops(asked: Asked) -> Graph | None:
    from .op_list import is_op_list, load_op_list

    if not is_op_list(asked.source):
        return None
    asked.only("an ops file", "dtype", hint="an ops file states its own formats")
    return load_op_list(asked.source, asked.dtype)


def _gguf(asked: Asked) -> Graph | None:
    named = _HUB_TAG.match(asked.source) and not Path(asked.source).exists()
    if not asked.source.lower().endswith(".gguf") and not named:
        return None
    from .gguf_file import load_gguf

    hint = "to ask about other formats, give the model's config.json with --weights q4_k (or another format)"
    asked.only("a GGUF file", "activations", "kv", hint=hint)
    return load_gguf(asked.source, asked.activations, asked.kv)


def _safetensors(asked: Asked) -> Graph | None:
    path = Path(asked.source)
    bare = path.is_dir() and not (path / "config.json").exists()
    if not asked.source.lower().endswith((".safetensors", ".safetensors.index.json")) and not bare:
        return None
    from .hf.bare import load_safetensors

    asked.only("a weight file", "dtype", "weights", "activations", "kv", "mtp")
    return load_safetensors(path, asked.dtype, asked.weights, asked.activations, asked.kv, asked.mtp)


def _image_model(asked: Asked) -> Graph | None:
    """timm's models, spelled as timm spells them; a file or folder of that name comes first."""
    if Path(asked.source).exists() or not _IMAGE_MODEL.match(asked.source):
        return None
    from .image_model import image_graph

    found = image_graph(asked.source, asked.inputs, asked.dtype, asked.layout)
    if found is not None:
        asked.only("an image model", "inputs", "dtype", "layout", hint="it keeps its own formats: use --dtype")
    return found


def _network(asked: Asked) -> Graph | None:
    """A network of the literature whose graph is carried."""
    if Path(asked.source).exists() or not _NETWORK.match(asked.source):
        return None
    from ..graph.recast import recast
    from .carried.networks import network

    found = network(asked.source)
    if found is not None:
        asked.only(
            f"the carried network {asked.source}", "dtype", hint="it is carried at one size, channels before rows"
        )
        found = recast(found, asked.dtype or "fp32")
    return found


READERS: tuple[Callable[[Asked], Graph | None], ...] = (
    _module, _onnx, _program, _archive, _ops, _gguf, _safetensors, _image_model, _network,
)  # fmt: skip


def _configured(asked: Asked) -> Graph:
    from .hf.load import load_hf

    found = _written_out(asked.source) or _configuration(asked.source, asked.models_dir)
    if asked.inputs or asked.layout:
        option = "--input" if asked.inputs else "--layout"
        raise BadInput(
            f"{option} is for PyTorch modules and files of their graphs",
            expected="file.py:factory, an .onnx or a .pt2 file",
        )
    graph = load_hf(found, asked.dtype, asked.weights, asked.activations, asked.kv, asked.mtp)[2]
    return graph.replace(name=_label(str(found if isinstance(found, Path) else found.where)))


def _written_out(source: str) -> Config | None:
    """A configuration given itself, as JSON; its ``_name_or_path`` is the model's name."""
    if not source.lstrip().startswith("{"):
        return None
    from .._foundation.files import parse_json
    from .hf.config import Config

    data = parse_json(source, "the model configuration")
    return Config(data, str(data.get("_name_or_path") or data.get("model_type") or "configuration"))


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
