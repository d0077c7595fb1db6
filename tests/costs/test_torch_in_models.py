"""Kernels of float32 models are rows of the operations' table, less the benchmark's floors."""

from __future__ import annotations

import pytest

from speedlight.engine.questions.resolve import planned, resolve
from speedlight.engine.steps.evaluate import PricedKernel
from speedlight.engine.steps.phase import run_phase
from speedlight.scenario.scenario import ModelRef, Program, Scenario
from speedlight.workload.workload import Training, Workload


def kernels(dtype: str = "fp32", machine: str = "v100-pcie-32gb", phase: str = "forward") -> dict[str, PricedKernel]:
    workload = Workload(phase, 8, 512, training=Training("none"))
    program = Program(ModelRef("bert-large", dtype=dtype), workload, stack="transformers@4.35")
    resolved = resolve(Scenario((program,), machine))
    made, dims = planned(resolved)
    step = run_phase(resolved, made, dims).results[0][0]
    return {k.kernel.name: k for _, _, ks in step.blocks for k in ks}


def test_products_streams_and_norms_rest_on_the_table() -> None:
    found = kernels()
    for name in ("mlp.up_proj", "self_attn.attn.scores", "self_attn.attn.weights", "input_layernorm", "attn_residual"):
        assert found[name].cost.basis.startswith("torch_fp32_ops"), name
        assert found[name].cost.time >= found[name].cost.limit


def test_a_product_takes_what_the_table_says_less_the_floors() -> None:
    from speedlight.costs.kernel import ask
    from speedlight.hardware.catalogue import load_machine

    machine = load_machine("v100-pcie-32gb")
    row = ask("torch_fp32_ops", machine, {"op": "linear"}, {"B": 1, "M": 4096, "N": 1024, "K": 4096}).seconds[0]
    mine = kernels()["mlp.up_proj"].cost.time
    assert row - 80e-6 < mine < row


def test_backward_products_and_streams_are_of_the_tables_sorts() -> None:
    found = kernels(phase="train")
    for name in (
        "mlp.up_proj.dgrad",
        "mlp.up_proj.wgrad",
        "self_attn.attn.scores.dgrad",
        "self_attn.attn.weights.backward",
    ):
        assert found[name].cost.basis.startswith("torch_fp32_ops"), name


@pytest.mark.parametrize(("dtype", "machine"), [("bf16", "a100-pcie-40gb"), ("fp32", "apple-m3-max-40c-128gb")])
def test_other_formats_and_makers_are_left_alone(dtype: str, machine: str) -> None:
    assert not kernels(dtype, machine)["attn_residual"].cost.basis
