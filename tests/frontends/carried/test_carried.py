"""What the package carries of timm's models, read without torch or timm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from speedlight._foundation.errors import BadInput, MissingDependency, UnknownName
from speedlight._foundation.expr import evaluate
from speedlight.frontends import carried, image_model
from speedlight.frontends.carried.kept import keep_graph, kept_graph
from speedlight.frontends.source import load_graph
from speedlight.graph.ir import Graph
from speedlight.graph.recast import recast
from speedlight.graph.stats import parameters


def macs(graph: Graph, batch: int = 1) -> float:
    """Multiply-adds of matmul units."""
    sums = (op.flops("matmul") * block.count for block, op in graph.ops())
    return sum(float(evaluate(flops, {"batch": batch})) for flops in sums) / 2


# name, parameters (the papers' and timm's own), multiply-adds in 1e9 of one image, by hand or the paper
@pytest.mark.parametrize(
    ("name", "count", "giga"),
    [
        ("resnet50", 25_557_032, 4.089),  # He et al., with timm's stride in the 3x3
        ("convnext_tiny", 28_589_128, 4.456),  # Liu et al., table 1: 4.5 G
        ("vit_base_patch16_224", 86_567_656, 17.564),  # 12 layers of 197 tokens
        ("efficientnet_b0", 5_288_548, 0.386),  # Tan and Le, table 2: 0.39 G
    ],
)
def test_parameters_and_products_of_well_known_models(name: str, count: int, giga: float) -> None:
    graph = load_graph(name)
    assert parameters(graph) == count
    assert macs(graph) / 1e9 == pytest.approx(giga, rel=2e-3)
    assert macs(graph, 8) == 8 * macs(graph)
    assert graph.attrs["unknown_ops"] == ()
    assert graph.attrs["source"] == f"timm {carried.version()}"


def test_every_name_is_carried_at_its_own_size() -> None:
    names = carried.names()
    missing = [n for n in names if _default(n) not in carried.shipped().keys]
    assert len(names) >= 1371
    assert len(missing) <= 0.02 * len(names), missing[:20]


def _default(name: str) -> str:
    model = carried.find(name)
    assert model is not None
    return carried.key(model.name, model.size, model.classes, None)


def test_the_file_is_small() -> None:
    assert carried.FILE.stat().st_size <= 8e6


def test_neither_torch_nor_timm_is_imported() -> None:
    code = (
        "import sys, json, speedlight\n"
        "p = speedlight.explain('resnet50', 'rtx-4090', batch=64)\n"
        "print(json.dumps([p.to_dict()['model']['params'], [m for m in ('torch', 'timm', 'lzma') if m in sys.modules]]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == [25_557_032, ["lzma"]]


def test_layouts_differ_in_how_images_lie_and_not_in_work() -> None:
    rows, last = load_graph("resnet50"), load_graph("resnet50", layout="channels_last")
    assert macs(rows) == macs(last)
    assert not any("orders" in op.attrs for _, op in rows.ops() if op.kind == "conv")
    assert all("0231" in op.attrs["orders"] for _, op in last.ops() if op.kind == "conv")


def test_tags_bring_their_size_and_their_head() -> None:
    tagged = carried.find("timm/resnet50.a1_in1k")
    assert tagged is not None
    assert (tagged.name, tagged.tag, tagged.size, tagged.classes) == ("resnet50", "a1_in1k", (3, 224, 224), 1000)
    large = carried.find("convnext_base.fb_in22k_ft_in1k_384")
    assert large is not None
    assert large.size == (3, 384, 384)
    wide = carried.find("convnext_tiny.fb_in22k")
    assert wide is not None
    assert wide.classes == 21841


def test_former_names_lead_to_todays() -> None:
    former = carried.find("convnext_tiny_384_in22ft1k")
    assert former is not None
    assert (former.name, former.tag, former.size) == ("convnext_tiny", "fb_in22k_ft_in1k_384", (3, 384, 384))


def test_a_former_name_of_another_width_is_another_network() -> None:
    """timm's list sends all of these to 32x8d; 32x16d has 194 M parameters, 32x8d 89 M (Mahajan et al., table 3)."""
    wide = carried.find("ig_resnext101_32x16d")
    assert wide is not None
    assert wide.name == "resnext101_32x16d"
    assert carried.find("ig_resnext101_32x48d") is None  # no architecture of today's list
    usual = carried.find("ig_resnext101_32x8d")
    assert usual is not None
    assert usual.name == "resnext101_32x8d"


def test_other_names_are_not_timms() -> None:
    assert carried.find("llama-3.1-8b") is None
    assert carried.find("vit-base-patch16-224") is None  # the hub's spelling: its own configuration


def test_an_unknown_tag_suggests_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"resnet50\.a1_in1k"):
        carried.find("resnet50.a1_in1")


def test_another_batch_and_format_need_no_capture() -> None:
    graph = load_graph("resnet50", ("64x3x224x224:fp16",))
    assert graph.symbols["batch"] == 64
    assert graph.attrs["dtype"] == "fp16"
    assert {t.dtype for b in graph.blocks for t in b.tensors.values()} <= {"fp16", "int64"}
    assert macs(graph) == macs(load_graph("resnet50"))


def test_recasting_to_the_same_format_changes_nothing() -> None:
    graph = load_graph("resnet50")
    assert recast(graph, "fp32") is graph
    assert recast(recast(graph, "bf16"), "fp32").blocks == graph.blocks


@pytest.mark.parametrize("inputs", [("1x3x224",), ("1x1x224x224",), ("1x3x224x224", "1x8")])
def test_what_is_no_image_is_refused(inputs: tuple[str, ...]) -> None:
    with pytest.raises(BadInput):
        load_graph("resnet50", inputs)


def test_a_size_that_is_not_carried_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> str:
        raise image_model.PackageNotFoundError(name)

    monkeypatch.setattr(image_model, "installed", absent)
    monkeypatch.setenv("SPEEDLIGHT_CACHE", str(tmp_path))
    with pytest.raises(MissingDependency, match="timm"):
        image_model.image_graph("resnet50", ("1x3x225x225",), None, None)


def test_captures_are_kept_and_damage_is_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEEDLIGHT_CACHE", str(tmp_path))
    graph = load_graph("resnet50")
    assert kept_graph("resnet50 a") is None
    keep_graph("resnet50 a", graph)
    again = kept_graph("resnet50 a")
    assert again is not None
    assert again.blocks == graph.blocks
    assert kept_graph("resnet50 b") is None
    for path in tmp_path.rglob("*.xz"):
        path.write_bytes(path.read_bytes()[:50])
    assert kept_graph("resnet50 a") is None


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("SPEEDLIGHT_CACHE", str(file))
    keep_graph("resnet50 a", load_graph("resnet50"))
    assert kept_graph("resnet50 a") is None


def test_weights_of_another_format_are_refused() -> None:
    with pytest.raises(Exception, match="dtype"):
        load_graph("resnet50", weights="int8")
