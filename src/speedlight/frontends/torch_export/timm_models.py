"""timm's models by name: their sizes, their own renamings, and capturing them.

Imports torch and timm, so it is imported only when a name has to be captured or listed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..._foundation.errors import BadInput, MissingDependency, UnknownName
from ...graph.ir import Graph
from ...graph.rewrite.conversions import noted
from .torchvision_stub import torchvision_or_stub

Size = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Variant:
    """What of a model's configuration changes its graph.

    Attributes:
        name: architecture, without a pretrained tag.
        size: channels, height, width.
        classes: outputs of the classifier; 0 without one.
    """

    name: str
    size: Size
    classes: int


@lru_cache(maxsize=1)
def timm() -> Any:
    """The timm package.

    Raises:
        MissingDependency: without it, or without what its model definitions import.
    """
    try:
        with torchvision_or_stub(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import timm as package
    except ImportError as error:
        raise MissingDependency(error.name or "timm", "test-vision", "capturing an image model by its name") from None
    return package


def names() -> list[str]:
    return list(timm().list_models())


def deprecated() -> dict[str, str | None]:
    """Former names → today's (with a pretrained tag, where it has one), None where it was removed."""
    timm()
    from timm.models import _registry

    return dict(getattr(_registry, "_deprecated_models", {}))


def tags(name: str) -> dict[str, Any]:
    """Pretrained tag → configuration of one architecture; the default first, under the empty tag."""
    models = timm().models
    found: dict[str, Any] = {"": models.get_pretrained_cfg(name)}
    from timm.models import _registry

    for tag in _registry._model_with_tags.get(name, ()):
        found[tag.partition(".")[2]] = _registry._model_pretrained_cfgs.get(tag)
    return {tag: config for tag, config in found.items() if config is not None}


def sizes(config: Any) -> tuple[Size, ...]:
    """The input sizes a configuration names: that of training, then that of evaluation."""
    both = (config.input_size, config.test_input_size)
    return tuple(dict.fromkeys((int(s[0]), int(s[1]), int(s[2])) for s in both if s is not None))


def variants(name: str) -> Iterator[Variant]:
    """Every size and head that timm's configurations of an architecture name, the default first."""
    seen = set()
    for config in tags(name).values():
        for size in sizes(config):
            variant = Variant(name, size, int(config.num_classes))
            if variant not in seen:
                seen.add(variant)
                yield variant


def resolve(name: str) -> str:
    """Today's name of a model, without its tag.

    Raises:
        UnknownName: for a name timm does not list, nor ever renamed.
    """
    architecture = name.partition(".")[0]
    if architecture in names():
        return architecture
    current = deprecated().get(architecture)
    if not current:
        raise UnknownName("timm model", name, names(), "timm.list_models()")
    return current.partition(".")[0]


def capture_timm(variant: Variant, *, train: bool = False, channels_last: bool = False) -> Graph:
    """The graph of a timm model.

    Models whose weights depend on the image size take ``img_size``; others refuse it and take any size.

    Raises:
        BadInput: for a size the model does not take.
    """
    from . import capture
    from .source import build

    create = timm().create_model
    default = sizes(tags(variant.name)[""])[0]

    def plain() -> Any:
        return create(variant.name, num_classes=variant.classes)

    def sized() -> Any:
        return create(variant.name, num_classes=variant.classes, img_size=variant.size[1:])

    plain.__name__ = sized.__name__ = variant.name  # what messages call it
    shape = "x".join(map(str, (1, *variant.size)))
    ways = (plain,) if variant.size == default else (sized, plain)
    errors: list[Exception] = []
    for way in ways:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                graph = capture(way, [shape], train=train, channels_last=channels_last, quick=True)
        except (BadInput, TypeError) as error:
            errors.append(error)
            continue
        graph = noted(graph, SWITCH, fast_norms(build(way, variant.name)))
        return graph.replace(name=variant.name, attrs=_attrs(graph, variant))
    reason = errors[-1].message if isinstance(errors[-1], BadInput) else str(errors[-1])
    raise BadInput(
        f"{variant.name} cannot be captured at {shape}: {reason}",
        expected="a size the model takes",
        hint=f"timm's own size is {'x'.join(map(str, (1, *default)))}",
    )


SWITCH = "fast_norm"  # timm.layers.set_fast_norm: norms run in the low format inside a mixed-precision region


def fast_norms(module: Any) -> list[str]:
    """Paths of the modules that timm's switch concerns, with ``*`` for numbers within a path, as folded layers have."""
    paths = (path for path, part in module.named_modules() if hasattr(part, "_fast_norm"))
    return sorted({re.sub(r"(?<![^.])\d+(?=\.)", "*", path) for path in paths})


def module_of(name: str) -> str:
    """timm's Python module that defines a model."""
    timm()
    from timm.models import _registry

    return str(_registry._model_to_module.get(name, ""))


def _attrs(graph: Graph, variant: Variant) -> dict[str, Any]:
    return {
        **graph.attrs,
        "source": f"timm {timm().__version__}",
        "defined_in": module_of(variant.name),
        "classes": variant.classes,
    }
