"""Latent attention and whole attention modules as the fits see them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from speedlight.costs.calibration.samples import TABLES, Rows, TableRules, View, assemble
from speedlight.costs.families import latent, module_terms, modules_dense, modules_sparse
from speedlight.hardware.catalogue import load_machine
from speedlight.hardware.machine import Machine
from tests.folders import DATA

NAMES = (
    "mla_prefill", "mla_decode", "mla_bmm", "module_mla_decode", "module_mla_prefill", "module_dsa_decode",
    "module_dsa_prefill", "module_msa_decode", "module_msa_prefill",
)  # fmt: skip
ARCHITECTURES = {"mla": "DeepseekV3ForCausalLM", "dsa": "GlmMoeDsaForCausalLM", "msa": "MiniMaxM3ForCausalLM"}


def class_of(name: str) -> dict[str, str]:
    kind = name.split("_")[1] if name.startswith("module") else "mla"
    return {
        "kv_cache_dtype": "fp8", "mla_dtype": "bfloat16", "gemm_type": "fp8_block", "bmm_dtype": "fp8",
        "op_name": "mla_gen_pre", "architecture": ARCHITECTURES[kind],
    }  # fmt: skip


def rows_of(name: str) -> dict[str, np.ndarray]:
    decode = "decode" in name
    return {
        "batch_size": np.array([1.0, 8.0, 64.0]), "num_heads": np.array([128.0, 16.0, 1.0]),
        "isl": np.array([1.0, 1.0, 1.0] if decode else [1.0, 3000.0, 128.0]), "step": np.array([7.0, 4096.0, 100000.0]),
        "num_tokens": np.array([1.0, 100.0, 5000.0]),
    }  # fmt: skip


def view_of(name: str, rows: Rows, machine: Machine, cls: Mapping[str, str] | None = None) -> View:
    return TABLES.get(name).targets[0].view(cls or class_of(name), rows, machine)


@pytest.fixture(scope="module")
def h200() -> Machine:
    return load_machine("h200-sxm-141gb")


@pytest.mark.parametrize("name", NAMES)
def test_floats_give_what_arrays_give(name: str, h200: Machine) -> None:
    rows = rows_of(name)
    together = view_of(name, rows, h200)
    for i in range(3):
        one = view_of(name, {k: float(v[i]) for k, v in rows.items()}, h200)  # type: ignore[misc]
        for joint, single in ((together.terms, one.terms), (together.coords, one.coords)):
            for key, value in single.items():
                assert np.broadcast_to(joint[key], 3)[i] == pytest.approx(value)
        assert np.broadcast_to(together.limit, 3)[i] == pytest.approx(one.limit)


@pytest.mark.parametrize("name", NAMES)
def test_coordinates_hold_no_rate_and_terms_do(name: str, h200: Machine) -> None:
    rows = rows_of(name)
    before = view_of(name, rows, h200)
    for path in (f"tiers.{h200.main.name}.bandwidth", "peaks"):
        after = view_of(name, rows, h200.scaled(path, 2.0))
        for key in before.coords:
            np.testing.assert_array_equal(before.coords[key], after.coords[key])
        for key in before.terms:
            assert np.all(np.asarray(after.terms[key]) <= np.asarray(before.terms[key]) * (1 + 1e-12))
    assert any(np.any(np.asarray(after.terms[key]) < np.asarray(before.terms[key])) for key in before.terms)


@pytest.mark.parametrize("name", NAMES)
def test_limit_is_below_the_sum_of_the_parts(name: str, h200: Machine) -> None:
    view = view_of(name, rows_of(name), h200)
    assert np.all(view.limit <= sum(view.terms.values()))


def test_pairs_of_a_sparse_mask() -> None:
    for new, cached, most in ((5, 0, 3), (4, 10, 3), (3, 1, 100), (6, 2, 4)):
        exact = sum(min(cached + i + 1, most) for i in range(new))
        assert module_terms.causal_pairs(float(new), float(cached), float(most)) == exact
    assert module_terms.causal_pairs(4.0, 2.0) == 3 + 4 + 5 + 6


def test_a_layer_that_reuses_indices_scores_nothing(h200: Machine) -> None:
    sizes = module_terms.LATENTS["GlmMoeDsaForCausalLM"]
    full, skip = (
        modules_sparse.dsa_view(sizes, s, 4.0, 16.0, 512.0, 8192.0, "bfloat16", "fp8", h200) for s in (False, True)
    )
    assert skip.terms["index"] == 0
    assert skip.terms["scan"] == 0
    assert skip.terms["project"] < full.terms["project"]
    assert skip.terms["attend"] == full.terms["attend"]


def test_absorbed_decode_reads_a_latent_whatever_the_heads(h200: Machine) -> None:
    one, many = (latent.decode_view(32.0, h, 8191.0, "bfloat16", h200) for h in (1.0, 64.0))
    assert many.terms["memory"] < 1.05 * one.terms["memory"]
    assert many.terms["memory"] > 32 * 8192 * 576 * 2 / h200.main.bandwidth


@pytest.mark.parametrize(
    ("framework", "kernel", "machine", "alone"),
    [
        ("trtllm", "default", "rtx-pro-6000-server", True),
        ("trtllm", "default", "b200", False),
        ("vllm", "TRITON_MLA", "rtx-pro-6000-server", False),
    ],
)
def test_whose_sequences_stay_on_one_unit(framework: str, kernel: str, machine: str, alone: bool) -> None:
    cls = {"framework": framework, "kernel_source": kernel}
    assert modules_dense.unsplit(cls, load_machine(machine)) == alone


def test_a_sequence_on_one_unit_takes_as_long_however_many_units_are_idle() -> None:
    """An A100 takes 118 us a thousand tokens of one sequence (mla_decode), an RTX PRO 6000 85."""
    sizes, a100 = module_terms.LATENTS["DeepseekV3ForCausalLM"], load_machine("a100-sxm-80gb")

    def beside(batch: float, cached: float) -> float:
        view = modules_dense.decode_view(sizes, batch, 16.0, cached, "bfloat16", "bfloat16", a100, unsplit=True)
        return float(view.terms["attend"] + view.terms["unsplit"])

    assert beside(1.0, 99_999.0) == pytest.approx(100 * 118e-6, rel=0.05)
    assert beside(64.0, 99_999.0) == pytest.approx(beside(1.0, 99_999.0), rel=1e-6)  # 108 units
    assert beside(1024.0, 99_999.0) >= 9.0 * beside(64.0, 99_999.0)
    split = modules_dense.decode_view(sizes, 1.0, 16.0, 99_999.0, "bfloat16", "bfloat16", a100)
    assert float(split.terms["unsplit"]) == 0.0


def test_projection_bytes_of_deepseek(h200: Machine) -> None:
    """Weights of one layer's attention at 128 heads: 187 M parameters (DeepSeek-V3, arXiv 2412.19437 §4.2)."""
    sizes = module_terms.LATENTS["DeepseekV3ForCausalLM"]
    outer = modules_dense.projections(sizes, 1.0, 128.0, "bfloat16", h200)
    inner = modules_dense.absorb(sizes, 1.0, 128.0, h200)
    assert sum(p.weights for p in (*outer, *inner)) / 2 == pytest.approx(187.1e6, rel=0.01)


@pytest.mark.data
@pytest.mark.parametrize("name", NAMES)
def test_rows_of_the_real_table(name: str) -> None:
    path = DATA / "kernels" / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    from speedlight.evidence.tables import read_table

    table = read_table(path)
    rules: TableRules = TABLES.get(name)
    chosen = np.linspace(0, table.rows - 1, 200).astype(int)
    columns = {k: np.asarray(v)[chosen] for k, v in table.columns.items()}
    inputs = {k: v for k, v in columns.items() if k not in rules.measured}
    samples = assemble(rules, rules.targets[0], inputs, 200)
    assert set(samples.status) == {"ok"}
    measured = np.asarray(columns["latency"], dtype=float)
    assert np.all(measured > 0.8 * samples.limit)
    assert np.mean(measured < samples.limit) <= 0.01
