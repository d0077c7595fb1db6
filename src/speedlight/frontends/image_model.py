"""A timm model's name → its graph: carried, else kept from an earlier capture, else captured now."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from .._foundation.errors import BadInput, MissingDependency
from ..graph.ir import Graph
from ..graph.recast import recast
from .carried import ImageModel, carried_graph, find, key, version
from .carried.kept import keep_graph, kept_graph
from .torch_export.inputs import parse_inputs

Size = tuple[int, int, int]


def image_graph(source: str, inputs: tuple[str, ...], dtype: str | None, layout: str | None) -> Graph | None:
    """The graph of a timm model, or None for a name that is none of timm's.

    Args:
        source: architecture, with a pretrained tag or without, or a former name.
        inputs: nothing for the size of the tag's configuration and a batch of 1, or one ``8x3x288x288[:dtype]``.
        dtype: number format of the model.
        layout: ``channels_last`` or None.

    Raises:
        BadInput: for inputs that are no image, and sizes the model does not take.
        MissingDependency: for a size that is not carried, without timm to capture it.
    """
    model = find(source)
    if model is None:
        return None
    batch, size, number = _image(inputs, model)
    graph = carried_graph(model.name, size, model.classes, layout) or _captured(model, size, layout)
    shape = (batch, *size)
    attrs = {**graph.attrs, "inputs": (("input.x", shape),)}
    graph = graph.replace(symbols={**graph.symbols, "batch": batch}, attrs=attrs)
    return recast(graph, dtype or number or "fp32")


def _image(inputs: tuple[str, ...], model: ImageModel) -> tuple[int, Size, str | None]:
    """Batch, size and number format of the input."""
    if not inputs:
        return 1, model.size, None
    shapes = parse_inputs(inputs)
    if len(shapes) != 1 or len(shapes[0].shape) != 4:
        raise BadInput(
            f"{model.name} takes one image, not {' and '.join(inputs)}",
            expected="batch x channels x height x width, as in 1x3x224x224",
        )
    batch, channels, height, width = shapes[0].shape
    if channels != model.size[0]:
        raise BadInput(f"{model.name} takes images of {model.size[0]} channels, not {channels}")
    return batch, (channels, height, width), shapes[0].dtype


def _captured(model: ImageModel, size: Size, layout: str | None) -> Graph:
    """The graph at a size that is not carried."""
    own = "x".join(map(str, (1, *model.size)))
    try:
        named = f"{key(model.name, size, model.classes, layout)} timm-{installed('timm')} torch-{installed('torch')}"
    except PackageNotFoundError as absent:
        raise MissingDependency(
            str(absent.name), "test-vision",
            f"{model.name} at {size[1]}x{size[2]}, a size that is not carried (its own is {own}),",
        ) from None  # fmt: skip
    graph = kept_graph(named)
    if graph is None:
        from .torch_export.timm_models import Variant, capture_timm

        variant = Variant(model.name, size, model.classes)
        graph = capture_timm(variant, channels_last=layout == "channels_last")
        if graph.attrs["source"] != f"timm {version()}":
            said = ("model definition", f"{graph.attrs['source']}; names and sizes are those of timm {version()}")
            graph = graph.replace(attrs={**graph.attrs, "assumptions": (*graph.attrs["assumptions"], said)})
        keep_graph(named, graph)
    return graph
