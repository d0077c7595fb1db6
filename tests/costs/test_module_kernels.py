"""Modules by the fit of whole image models: known devices calibrated, laws kept, depthwise convolutions told apart."""

from __future__ import annotations

import numpy as np
import pytest

import speedlight
from speedlight.costs.calibration.store import shipped
from speedlight.costs.families.module_kernels import FAMILIES, NAME
from speedlight.costs.families.module_views import terms_of
from speedlight.engine.measured.uncalibrated import analytic_kernels
from speedlight.validation.image_models.questions import Question


def asked(model: str, machine: str = "rtx-3090", **options: object) -> object:
    return speedlight.explain(model, machine, **{"dtype": "amp", "batch": 256, **options})


def test_the_fit_knows_every_sort_and_says_what_it_rests_on() -> None:
    fit = shipped(NAME)
    assert fit is not None
    assert fit.parts.keys() == FAMILIES.keys()
    assert {c["leave"] for c in fit.header["cross_validation"]} == {"group", "device"}


@pytest.mark.parametrize("stack", ["torch-eager@2.4", "torch-compile@2.4"])
@pytest.mark.parametrize("model", ["resnet50", "convnext_tiny", "vit_base_patch16_224"])
def test_a_measured_device_is_calibrated_with_a_narrow_interval(model: str, stack: str) -> None:
    answer = asked(model, "rtx-4090", stack=stack)
    assert answer.layer == "calibrated"
    assert answer.limit <= answer.low <= answer.time <= answer.high
    assert answer.high < 1.5 * answer.time
    stranger = asked(model, "rtx-3070", stack=stack)
    assert stranger.high / stranger.low > answer.high / answer.low


def test_depthwise_convolutions_do_not_run_at_the_rate_of_dense_ones() -> None:
    """ConvNeXt-T has a tenth more FLOPs than ResNet-50 and runs well below its rate (DESIGN, traps). Its depthwise convolutions wait for
    bandwidth, of memory or of the loads of 49 taps for each number: on an H100, where we measured them alone, they take five times
    what memory needs."""
    plain, deep = (asked(m, "a100-sxm-80gb", layout="nhwc") for m in ("resnet50", "convnext_tiny"))
    assert deep.flops < 1.15 * plain.flops
    assert deep.time > 1.2 * plain.time
    spent: dict[str, float] = {}
    for op in deep.ops:
        if op.path.endswith("conv_dw") and op.kind == "conv":
            spent[op.bound] = spent.get(op.bound, 0.0) + op.time
    assert max(spent, key=lambda name: spent[name]) in ("hbm", "cache")
    assert deep.bound == "hbm"


@pytest.mark.parametrize(("machine", "longer"), [("h100-sxm-80gb", 1.5), ("rtx-4090", 1.0)])
def test_convolutions_run_by_older_instructions_than_hopper_has(machine: str, longer: float) -> None:
    """What the fit sees of matrix units: two thirds of their rate in convolutions, all of it in products."""
    scenario = Question("resnet18", 224, "infer", "amp", "nhwc", False, "240", machine).scenario(np.array([64.0]))
    on, kernels = analytic_kernels(scenario)
    for each in kernels:
        seen = terms_of(each.kernel, each.cost, on)["matmul"]
        factor = longer if each.kernel.family == "conv" else 1.0
        np.testing.assert_allclose(seen, factor * np.asarray(each.cost.busy.get("matmul", 0.0)))


def test_a_sweep_is_its_points() -> None:
    batch = np.array([1.0, 32.0, 256.0])
    together = asked("efficientnet_b0", batch=batch)
    for i, b in enumerate(batch.tolist()):
        alone = asked("efficientnet_b0", batch=b)
        for name in ("time", "low", "high", "limit"):
            assert getattr(together, name)[i] == pytest.approx(getattr(alone, name), rel=1e-9), name


@pytest.mark.parametrize(("path", "base"), [("tiers.gddr.bandwidth", 9e11), ("tiers.l2.bandwidth", 4e12)])
def test_a_faster_machine_is_never_slower(path: str, base: float) -> None:
    times = asked("regnety_032", overrides={path: base * np.array([1.0, 1.5, 3.0])}).time
    assert np.all(np.diff(times) <= 1e-12)
