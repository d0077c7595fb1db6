"""Number formats and sparsity: what they refuse, what they leave alone, where they stop to pay."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.engine.questions.question import make_scenario
from speedlight.scenario.scenario import Scenario
from speedlight.techniques import ask
from speedlight.techniques.compose import Refused, parsed
from speedlight.techniques.technique import catalogue
from speedlight.techniques.whatif import whatif

MINE = sorted(n for n, t in catalogue().items() if t.family in ("formats", "sparsity"))


def question(*labels: str, model: str = "llama-3.1-8b", machine: str = "h100-sxm-80gb", **options: object) -> Scenario:
    options = {"phase": "decode", "batch": 8, "context": 4096, **options}
    return make_scenario(model, machine, **options).replace(techniques=tuple(parsed(label) for label in labels))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "machine", "why"),
    [("sparsity-2-4", "p100-pcie-16gb", "structured"), ("fp8", "a100-sxm-80gb", "fp8"), ("w4a4kv4", "h100-sxm-80gb", "int4"),
     ("block-format:format=nvfp4", "h100-sxm-80gb", "fp4")],
)  # fmt: skip
def test_no_unit_no_gain(label: str, machine: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        ask(question(label, machine=machine))
    assert refused.value.hint  # the nearest alternative


@pytest.mark.parametrize(
    "pair",
    [("w4a4kv4", "kv-quantization"), ("fp8", "w8a8"), ("sparsity-2-4", "unstructured-sparsity"), ("cats", "contextual-sparsity"),
     ("layer-dropping", "attention-dropping")],
)  # fmt: skip
def test_one_of_them(pair: tuple[str, str]) -> None:
    with pytest.raises(Refused):
        ask(question(*pair, machine="a100-sxm-80gb"))


def test_what_is_narrow_is_not_narrowed_again() -> None:
    with pytest.raises(Refused, match="already"):
        ask(question("weight-only-int:bits=8", weights="int4"))


@pytest.mark.parametrize("name", MINE)
def test_a_sweep_is_a_loop(name: str) -> None:
    """And no prediction is below its limit."""
    batches = np.array([1.0, 16.0, 300.0])
    for model, machine, options in (
        ("llama-3.1-8b", "a100-sxm-80gb", {}),
        ("timm/resnet50", "rtx-4090", {"phase": "forward", "context": None}),
    ):
        try:
            swept = ask(question(name, model=model, machine=machine, **{**options, "batch": batches}), details=False)
        except Refused:
            continue
        alone = [
            ask(question(name, model=model, machine=machine, **{**options, "batch": b}), details=False) for b in batches
        ]
        assert np.allclose(swept.time, [float(a.time) for a in alone], rtol=1e-9)
        assert np.all(swept.time >= swept.limit * (1 - 1e-9))


@pytest.mark.parametrize("name", [n for n in MINE if any(p.neutral is not None for p in catalogue()[n].parameters)])
def test_neutral_settings_change_nothing(name: str) -> None:
    technique = catalogue()[name]
    label = name + ":" + ",".join(f"{p.name}={p.neutral}" for p in technique.parameters if p.neutral is not None)
    model, phase = ("timm/resnet50", "forward") if name == "channel-pruning" else ("llama-3.1-8b", "decode")
    options = {"phase": phase, "batch": 4, "context": 1024 if phase == "decode" else None, "model": model}
    before, after = ask(question(**options), details=False), ask(question(label, **options), details=False)  # type: ignore[arg-type]
    assert float(after.time) == pytest.approx(float(before.time), rel=1e-9)
    assert float(after.flops) == pytest.approx(float(before.flops), rel=1e-12)
    assert float(after.memory.total) == pytest.approx(float(before.memory.total), rel=1e-12)


def test_lossless_codes_save_bytes_and_no_work() -> None:
    before, after = ask(question(), details=False), ask(question("lossless-weights:unpack=inside"), details=False)
    assert float(after.flops) == float(before.flops)
    assert float(after.memory.by_class["weights"]) == pytest.approx(
        11 / 16 * float(before.memory.by_class["weights"]), rel=1e-3
    )


def test_decoding_into_a_buffer_costs_more_than_it_saves_at_one_token() -> None:
    """11 bits read, 16 written and 16 read again: what the codes save is capacity, not traffic (DESIGN decision 10)."""
    one = {"batch": 1, "context": 128}
    before, after = ask(question(**one), details=False), ask(question("lossless-weights", **one), details=False)  # type: ignore[arg-type]
    assert float(after.time) > 1.3 * float(before.time)
    assert float(after.memory.total) < float(before.memory.total)


def test_contextual_sparsity_is_for_few_tokens() -> None:
    found = whatif(question(batch=1), names=["contextual-sparsity"])
    (outcome,) = found.singles
    assert outcome.gain is not None
    assert float(outcome.gain.speedup) > 1.15
    assert any(t.along == "batch" and not t.pays and t.at < 64 for t in outcome.turns)


def test_the_same_technique_twice_counts_once() -> None:
    once, twice = (
        ask(question("sparsity-2-4"), details=False),
        ask(question("sparsity-2-4", "sparsity-2-4"), details=False),
    )
    assert float(once.time) == float(twice.time)


def test_formats_and_patterns_compose() -> None:
    """Two of four of 4-bit weights: fewer bytes than either, and products halved once."""
    both, four, pattern, plain = (
        ask(question(*labels), details=False)
        for labels in (("weight-only-int", "sparsity-2-4"), ("weight-only-int",), ("sparsity-2-4",), ())
    )
    weights = [float(a.memory.by_class["weights"]) for a in (both, four, pattern, plain)]
    assert weights[0] < min(weights[1:3]) < max(weights[1:3]) < weights[3]
    assert float(both.flops) == pytest.approx(float(pattern.flops))
    assert float(four.flops) == float(plain.flops)


def test_fewer_bits_take_less_time() -> None:
    """Formats no table measured run as the nearest measured ones do, with their own bytes."""
    formats = ("bf16", "bf16~13", "bf16~11", "bf16_2of4", "int8", "int4_g32", "int4", "int3", "int2")
    times = [float(ask(question(batch=1, context=64, weights=f), details=False).time) for f in formats]
    assert times == sorted(times, reverse=True)
    assert times[0] > 2 * times[-1]


def test_narrow_products_are_faster_than_wide_ones() -> None:
    """On a prompt: INT4 before the mix of INT4 and INT8, before INT8, before 16 bits."""
    prompt = {"machine": "a100-sxm-80gb", "phase": "prefill", "batch": 8, "context": None, "isl": 2048}
    labels: tuple[tuple[str, ...], ...] = ((), ("w8a8",), ("mixed-4-8",), ("mixed-4-8:share=1",))
    times = [float(ask(question(*some, **prompt), details=False).time) for some in labels]  # type: ignore[arg-type]
    assert times == sorted(times, reverse=True)
    assert times[1] < 1.8 * times[-1]  # INT4 kernels lose what INT8 ones do
