"""Traps of the literature about number formats and sparsity (DESIGN)."""

from __future__ import annotations

import pytest

import speedlight
from speedlight._foundation.formats import number_format
from speedlight.engine.questions.question import make_scenario
from speedlight.techniques import ask
from speedlight.techniques.compose import parsed


def layer_limit(machine: str, weights: str, rows: int) -> float:
    """The least seconds of one layer's output projection for so many rows."""
    common = {"phase": "decode", "batch": rows, "context": 1, "weights": weights, "stack": "ideal"}
    answer = speedlight.explain("llama-2-7b", machine, **common)  # type: ignore[arg-type]
    return float(next(o.limit for o in answer.ops if o.name == "self_attn.o_proj"))


@pytest.mark.parametrize(("machine", "knee"), [("a100-sxm-80gb", 39.4), ("a10", 53.7)])
def test_marlins_knees(machine: str, knee: float) -> None:
    """4-bit weights are worth 3.88 at few rows, up to where products take as long as their reads: the limit is the GPU's."""
    wide, narrow = ({m: layer_limit(machine, w, m) for m in (1, 256, 512)} for w in ("bf16", "int4"))
    assert wide[1] / narrow[1] == pytest.approx(16 / 4.125, rel=0.01)
    slope = (narrow[512] - narrow[256]) / 256  # seconds a row where products bind
    assert narrow[1] / slope == pytest.approx(knee, rel=0.03)
    assert wide[512] / narrow[512] == pytest.approx(1.0, rel=0.01)  # and at many rows it is worth nothing


def test_equal_bytes_different_kernels() -> None:
    """Look-up tables at 3 bits against integers at 3 bits: bytes say 1.0; the 2.1 that is published is a kernel's quality."""
    common = {"phase": "decode", "batch": 1, "context": 512}
    times = []
    for label in ("lut-weights:bits=3,group=128", "weight-only-int:bits=3"):
        scenario = make_scenario("opt-66b", "a100-sxm-80gb", **common)  # type: ignore[arg-type]
        times.append(float(ask(scenario.replace(techniques=(parsed(label),)), details=False).time))
    assert times[0] / times[1] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("fmt", "of_four", "smaller"), [("int8", 20, 6.4), ("int4_values", 10, 12.8)])
def test_sparsity_bits(fmt: str, of_four: int, smaller: float) -> None:
    bits = number_format(f"{fmt}_2of4").bits
    assert 4 * bits == of_four
    assert number_format("fp32").bits / bits == pytest.approx(smaller)


def test_half_the_layers_are_not_half_the_weights() -> None:
    """Half of Llama-2-70B's attention is a ninth of its weights and half of its caches."""
    scenario = make_scenario("llama-2-70b", "dgx-h100", phase="decode", batch=8, context=4096, tp=8)
    before, after = (
        ask(scenario, details=False),
        ask(scenario.replace(techniques=(parsed("attention-dropping"),)), details=False),
    )
    weights, caches = (float(after.memory.by_class[c]) / float(before.memory.by_class[c]) for c in ("weights", "kv"))
    assert 1 - weights == pytest.approx(0.087, abs=0.005)
    assert caches == pytest.approx(0.5)


def test_leaving_out_half_is_at_most_twice() -> None:
    """Spec sheets' sparse peaks are twice the dense ones; a whole prompt gains less."""
    scenario = make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="prefill", batch=8, isl=4096)
    before, after = (
        ask(scenario, details=False),
        ask(scenario.replace(techniques=(parsed("sparsity-2-4"),)), details=False),
    )
    assert 1.3 < float(before.time / after.time) < 2.0
    assert float(after.mfu) <= 1
