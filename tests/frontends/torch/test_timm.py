"""timm's models captured by name. A sample here; all of them with ``pytest -m slow tests/frontends/torch/test_timm.py``."""

from __future__ import annotations

import importlib.util
import statistics
import time
from typing import Any

import pytest

pytest.importorskip("torch")
if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed (the extra test-vision)", allow_module_level=True)

from speedlight.frontends import carried
from speedlight.frontends.torch_export import capture
from speedlight.frontends.torch_export.timm_models import Variant, capture_timm, deprecated, names, timm, variants
from speedlight.graph.ir import Graph
from speedlight.graph.plain import from_plain, to_plain
from speedlight.graph.recast import recast
from speedlight.graph.stats import parameters

# One of each kind: plain and depthwise convolutions, windows, mixed attention, branches, pooling as mixing.
SAMPLE = (
    "resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto",
    "mobilevit_xxs", "poolformer_s12", "hardcorenas_a",
)  # fmt: skip


def _variant(name: str) -> Variant:
    return next(variants(name))


def _same(a: Graph, b: Graph) -> bool:
    return a.blocks == b.blocks and dict(a.shared) == dict(b.shared)


def _true_parameters(variant: Variant) -> int:
    import torch

    with torch.device("meta"):
        try:
            module = timm().create_model(variant.name, num_classes=variant.classes)
        except Exception:
            return -1  # its constructor reads numbers: the slow test builds it as captures do
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_has_the_parameters_of_the_module(name: str) -> None:
    graph = capture_timm(_variant(name))
    expected = _true_parameters(_variant(name))
    assert expected == -1 or parameters(graph) == expected
    assert graph.attrs["unknown_ops"] == ()
    assert graph.attrs["static"] == ()  # the batch is free
    assert all(op.path for _, op in graph.ops() if op.kind in ("conv", "attention", "norm"))
    assert from_plain(to_plain(graph)).blocks == graph.blocks


@pytest.mark.parametrize(
    ("name", "last"), [("resnet18", False), ("resnet18", True), ("mobilevit_xxs", True), ("hardcorenas_a", False)]
)
def test_the_quick_way_sees_what_export_sees(name: str, last: bool) -> None:
    variant = _variant(name)
    shape = "x".join(map(str, (1, *variant.size)))
    slow = capture(lambda: timm().create_model(name), [shape], channels_last=last)
    quick = capture_timm(variant, channels_last=last)
    assert (slow.attrs["capture"], quick.attrs["capture"]) == ("export", "probe")

    def seen(graph: Graph) -> list[Any]:
        return [(o.path, o.fn, o.attrs.get("orders"), o.attrs.get("out_orders")) for _, o in graph.ops()]

    assert seen(slow) == seen(quick)


def test_recasting_is_what_capturing_in_that_format_gives() -> None:
    variant = _variant("resnet18")
    shape = "x".join(map(str, (1, *variant.size)))
    half = capture(lambda: timm().create_model("resnet18"), [shape], dtype="fp16", quick=True)
    assert _same(recast(capture_timm(variant), "fp16"), half)


def test_batch_norm_in_training_is_captured_too() -> None:
    graph = capture_timm(_variant("resnet18"), train=True)
    norms = [op for _, op in graph.ops() if op.fn == "batch_norm"]
    assert norms
    assert all(op.attrs["training"] and len(op.writes) >= 3 for op in norms)


def test_a_size_by_argument() -> None:
    graph = capture_timm(Variant("vit_tiny_patch16_224", (3, 384, 384), 1000))
    attention = next(op for _, op in graph.ops() if op.kind == "attention")
    assert str(attention.dims["rows"]) == "(batch * 577)"


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_the_carried_graph_is_what_a_capture_gives_today(name: str) -> None:
    variant = _variant(name)
    if timm().__version__ != carried.version():
        pytest.skip(f"timm {timm().__version__} is installed, {carried.version()} is carried")
    graph = carried.carried_graph(variant.name, variant.size, variant.classes)
    assert graph is not None
    assert _same(graph, capture_timm(variant))


def test_the_index_holds_every_name_and_renaming() -> None:
    if timm().__version__ != carried.version():
        pytest.skip(f"timm {timm().__version__} is installed, {carried.version()} is carried")
    assert carried.names() == sorted(names())
    assert carried.shipped().facts["renamed"] == deprecated()


@pytest.mark.slow
def test_all_models_are_captured() -> None:
    """At least 98 % of timm's names, parameters exact, the median within three seconds."""
    failed: dict[str, Any] = {}
    wrong, seconds = [], []
    for name in names():
        started = time.perf_counter()
        try:
            graph = capture_timm(_variant(name))
        except Exception as error:  # counted
            failed[name] = error
            continue
        seconds.append(time.perf_counter() - started)
        expected = _true_parameters(_variant(name))
        if expected not in (-1, parameters(graph)):
            wrong.append(name)
    assert len(failed) <= 0.02 * len(names()), failed
    assert not wrong
    assert statistics.median(seconds) < 3.0
