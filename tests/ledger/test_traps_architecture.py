"""Traps of the literature about networks' shapes: what a count of FLOPs cannot see (DESIGN, "Traps already found")."""

from __future__ import annotations

import itertools

import pytest

from speedlight.engine.answers.prediction import Prediction
from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.scenario.scenario import Rewrite
from speedlight.techniques.compose import ask, parsed
from speedlight.validation.ledger.bench import Bench
from speedlight.validation.ledger.papers.model_architecture.images import products


def answer(model: str, machine: str, *techniques: str, **options: object) -> Prediction:
    scenario = make_scenario(model, machine, **options)  # type: ignore[arg-type]
    return ask(scenario.replace(techniques=tuple(parsed(t) for t in techniques)), details=False)


def images(model: str, machine: str, **options: object) -> float:
    return float(answer(model, machine, **options).throughput["value"])


@pytest.mark.parametrize("phase", ["forward", "train"])
def test_equal_flops_and_not_the_speed(phase: str) -> None:
    """ConvNeXt-T and ResNet-50 do alike work; on an A100 one of them is much slower, in full precision most of all."""
    work = products("convnext_tiny") / products("resnet50")
    assert 0.9 < work < 1.15
    same = {"phase": phase, "batch": 128, "layout": "nhwc", "stack": "torch-eager"}
    for dtype, most in (("amp", 0.85), ("fp32", 0.6)):
        ratio = images("convnext_tiny", "a100-sxm-80gb", dtype=dtype, **same) / images(
            "resnet50", "a100-sxm-80gb", dtype=dtype, **same
        )
        assert ratio < most, (dtype, ratio)


def test_fewer_flops_and_slower() -> None:
    """LowFormer's, TResNet's and GENet's remark: ranks by time are not ranks by work."""
    same = {"phase": "forward", "batch": 64, "dtype": "amp", "stack": "torch-eager"}
    less, more = "efficientnet_b3", "gernet_l"
    assert products(less) < 0.5 * products(more)
    assert images(less, "v100-sxm2-32gb", **same) < images(more, "v100-sxm2-32gb", **same)
    assert products("efficientnet_b2") < 0.2 * products("tresnet_m")
    assert images("efficientnet_b2", "v100-sxm2-32gb", **same) < 1.2 * images("tresnet_m", "v100-sxm2-32gb", **same)


def test_one_axis_three_devices_three_gains() -> None:
    """SHViT beside MobileViTv2: GPU, processor and phone each give a gain of their own."""
    questions = (
        ("v100-sxm2-32gb", {"batch": 256, "dtype": "amp", "stack": "torch-eager"}),
        ("xeon-platinum-8280", {"batch": 16, "dtype": "fp32", "stack": "torch-eager"}),
        ("iphone-13", {"batch": 1, "dtype": "fp16", "stack": "onnxruntime"}),
    )
    gains = sorted(
        images("shvit_s4", m, phase="forward", **o) / images("mobilevitv2_100", m, phase="forward", **o)
        for m, o in questions
    )
    assert all(b > 1.2 * a for a, b in itertools.pairwise(gains)), gains


def test_macs_and_flops_differ_by_two() -> None:
    """ResNet-50's 4.1 billion are multiply-adds; its FLOPs are twice as many."""
    assert products("resnet50") == pytest.approx(2 * 4.09e9, rel=0.02)
    found = answer("resnet50", "t4", phase="forward", batch=1)
    assert found.flops == pytest.approx(2 * 4.1e9, rel=0.03)


def test_width_costs_activations_as_the_root_of_flops() -> None:
    """Twice the FLOPs by width are 1.41 times the images' bytes, so a step bound by memory is faster than by depth."""
    scenario = make_scenario("resnet50", "v100-sxm2-32gb", phase="forward", batch=128, dtype="amp")
    before = predict(scenario, details=False)
    wide = predict(
        scenario.with_program(model=_with(scenario.program.model, Rewrite("fewer_channels", (("share", 2**0.5),)))),
        details=False,
    )
    assert float(wide.flops / before.flops) == pytest.approx(2.0, rel=0.04)
    assert float(wide.bytes / before.bytes) < 1.6
    assert float(wide.time / before.time) < 1.9


def _with(model: object, rewrite: Rewrite) -> object:
    import dataclasses

    return dataclasses.replace(model, rewrites=(rewrite,))  # type: ignore[type-var]


def test_sharing_values_frees_room_and_no_reads() -> None:
    """Capacity is not traffic: half of the cache is gone, a step reads what it read."""
    same = {"phase": "decode", "batch": 16, "context": 8192}
    before, after = (
        answer("llama-2-7b", "h100-sxm-80gb", **same),
        answer("llama-2-7b", "h100-sxm-80gb", "shared-values", **same),
    )
    assert float(after.memory.by_class["kv"] / before.memory.by_class["kv"]) == pytest.approx(33 / 64, rel=1e-6)
    assert float(after.bytes) == pytest.approx(float(before.bytes), rel=1e-3)  # new values are written once


def test_room_becomes_speed_where_the_batch_grows() -> None:
    """Block Transformer's tenfold is a batch that fits, not a step that is faster by as much."""
    same = {"phase": "decode", "batch": 8, "context": 2048}
    alone = float(
        answer("pythia-1.4b", "h100-sxm-80gb", **same).throughput["value"]
        / answer("pythia-1.4b", "h100-sxm-80gb", "block-transformer", **same).throughput["value"]
    )
    full = [
        answer("pythia-1.4b", "h100-sxm-80gb", *t, "fill-memory:most=65536", **same).throughput["value"]
        for t in ((), ("block-transformer",))
    ]
    assert 1 / alone < 3
    assert float(full[1] / full[0]) > 5


def test_a_gain_is_the_settings_not_the_papers() -> None:
    """ToMe for Stable Diffusion: little where fused attention sees 512 pixels, much where it sees 2,048."""
    gains = []
    for side in (512, 2048):
        same = {"phase": "forward", "batch": 1, "dtype": "fp16", "height": side, "width": side}
        whole, merged = (answer("sd-1.5", "rtx-4090", *t, **same) for t in ((), ("latent-token-merging",)))
        gains.append(float(whole.time / merged.time))
    assert 1 < gains[0] < 1.2
    assert gains[1] > 1.3 * gains[0]


def test_overlap_needs_messages() -> None:
    """Ladder residuals save what all-reduces cost, and never more."""
    bench = Bench()
    same = {"phase": "prefill", "batch": 1, "isl": 2048, "tp": 8}
    before, after = (bench.detailed("llama-3.1-70b", "dgx-h100", t, **same) for t in ([], ["ladder-residual"]))
    sent = sum(float(op.time) for op in before.ops if op.kind == "collective")
    saved = float(before.time) - float(after.time)
    assert 0 < saved <= sent * (1 + 1e-9)


def test_more_devices_can_beat_their_number() -> None:
    """Partially conditioned patches cut attention too: eight devices bring more than eightfold where it is most of the work."""
    same = {"phase": "forward", "batch": 1, "height": 3072, "width": 3072}
    alone = answer("pixart-sigma-xl-2-1024-ms", "dgx-a100-80gb", **same).time
    found = {}
    for label in ("displaced-patch-parallel:degree=8", "partially-conditioned-patches:degree=8,seen=0.1"):
        found[label] = float(alone / answer("pixart-sigma-xl-2-1024-ms", "dgx-a100-80gb", label, **same).time)
    whole, part = found.values()
    assert whole <= 8
    assert part > 8
