"""Kernels of one structure priced in one call, versions of a stack that run the same kernels asked once: nothing changes."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import speedlight
from speedlight._foundation.collecting import YOUNG, seldom
from speedlight.engine.questions.alike import likeness
from speedlight.engine.questions.resolve import planned, resolve
from speedlight.engine.steps import together
from speedlight.scenario.scenario import Scenario

NUMBERS = ("time", "low", "high", "limit", "flops", "bytes", "mfu", "mbu")


def scenario(model: str, stack: str, **more: object) -> Scenario:
    return speedlight.make_scenario(model, "rtx-4090", **{"dtype": "amp", "batch": 64, "stack": stack, **more})


@pytest.mark.parametrize("stack", ["torch-eager@2.4", "torch-compile@2.4", "ideal"])
@pytest.mark.parametrize("batch", [64, np.array([1.0, 64.0, 256.0])], ids=["one", "sweep"])
def test_pricing_together_is_pricing_alone(monkeypatch: pytest.MonkeyPatch, stack: str, batch: object) -> None:
    dtype = "fp16" if stack == "ideal" else "amp"
    asked = {"dtype": dtype, "batch": batch, "stack": stack}
    one = speedlight.explain("mobilenetv3_small_050", "rtx-4090", **asked)
    monkeypatch.setattr(together, "MOST", 0)
    other = speedlight.explain("mobilenetv3_small_050", "rtx-4090", **asked)
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, err_msg=name)
    assert np.all(one.bound == other.bound)
    assert [(r.name, r.bound) for r in one.ops] == [(r.name, r.bound) for r in other.ops]
    np.testing.assert_allclose([r.time for r in one.ops], [r.time for r in other.ops], rtol=1e-9)


def test_kernels_whose_fits_ask_for_attributes_are_priced_alone() -> None:
    resolved = resolve(
        speedlight.make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="prefill", isl=128, stack="vllm")
    )
    kernels = [kernel for block in planned(resolved)[0].program.blocks for kernel in block.kernels]
    assert kernels
    assert not any(together.elementwise(kernel, resolved.machine) for kernel in kernels if kernel.library)


def test_versions_that_run_the_same_kernels_are_alike() -> None:
    assert likeness(scenario("resnet18", "torch-eager@2.1")) == likeness(scenario("resnet18", "torch-eager@2.4"))
    assert likeness(scenario("resnet18", "torch-eager@2.4")) != likeness(scenario("resnet18", "torch-compile@2.4"))
    # Fused attention came with 2.0.
    old, new = (scenario("vit_tiny_patch16_224", f"torch-eager@{v}") for v in ("1.13", "2.4"))
    assert likeness(old) != likeness(new)


def test_versions_that_are_alike_get_one_answer() -> None:
    old, new = (
        speedlight.explain("resnet18", "rtx-4090", dtype="amp", batch=64, stack=f"torch-eager@{v}")
        for v in ("2.1", "2.4")
    )
    assert old.time == new.time
    assert old.stack != new.stack


def test_the_collector_is_as_it_was_after() -> None:
    before = gc.get_threshold()
    with seldom():
        assert gc.get_threshold()[0] == YOUNG
    assert gc.get_threshold() == before
