"""Techniques of the KV cache and of decoding: what excludes what, what pays where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight import BadInput
from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.scenario.scenario import Scenario
from speedlight.techniques.compose import Refused, applied, ask, parsed
from speedlight.techniques.speculation import kept


def decode(model: str = "llama-3.1-8b", machine: str = "h100-sxm-80gb", **options: object) -> Scenario:
    return make_scenario(model, machine, phase="decode", **{"batch": 8, "context": 4096, **options})


def with_(scenario: Scenario, *labels: str) -> Scenario:
    return scenario.replace(techniques=tuple(parsed(label) for label in labels))


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (("kv-quantization", "kv-mixed-precision"), "both change kv"),
        (("kv-quantization:format=int4", "quantized-self-speculation"), "both change kv"),
        (("kv-eviction", "kv-window-sinks"), "both change kv tokens"),
        (("gqa-conversion", "mla-conversion"), "both change kv width"),
        (("speculative-decoding", "prompt-lookup"), "both change speculation"),
        (("kv-retrieval-offload", "speculative-kv-prefetch"), "both change"),
    ],
)
def test_what_excludes_each_other(labels: tuple[str, ...], why: str) -> None:
    with pytest.raises(Refused, match=why):
        applied(with_(decode(), *labels))


@pytest.mark.parametrize(
    ("model", "label", "why"),
    [
        ("deepseek-v2-lite", "mqa-conversion", "latent already"),
        ("deepseek-v2-lite", "kv-low-rank", "latent already"),
        ("llama-3.1-8b", "gqa-conversion:heads=8", "8 heads already"),
        ("llama-3.1-8b", "gqa-conversion:heads=3", "cannot be merged into 3"),
        ("llama-3.1-8b", "multi-token-prediction", "no multi-token prediction modules"),
        ("llama-3.1-8b", "layer-parallel-drafting", "one device"),
        ("llama-3.1-8b", "prefix-reuse", "prefill"),
        ("mamba-1.4b", "kv-eviction", "keys and values"),
        ("bert-large", "kv-eviction", "does not generate"),
    ],
)
def test_what_does_not_apply_says_why(model: str, label: str, why: str) -> None:
    question = decode(model) if model != "bert-large" else make_scenario(model, "h100-sxm-80gb", batch=8, isl=128)
    with pytest.raises(Refused, match=why):
        applied(with_(question, label))


def test_an_encoders_source_is_no_prompt() -> None:
    asked = make_scenario("t5-small", "a100-sxm-80gb", phase="generate", batch=4, isl=256, osl=64)
    for label in ("prefix-reuse", "single-input-kv"):
        with pytest.raises(Refused, match="encoder"):
            applied(with_(asked, label))


def test_narrower_already_is_refused() -> None:
    with pytest.raises(Refused, match="8 bits already"):
        applied(with_(decode(kv="fp8"), "kv-quantization:format=int8"))


def test_three_ranks_on_64_heads_is_the_engines_to_refuse() -> None:
    with pytest.raises(BadInput, match="3"):
        predict(decode("llama-3.1-70b", "dgx-h100", tp=3), details=False)


@given(st.floats(0.0, 0.99), st.integers(1, 30))
def test_accepted_tokens_are_a_geometric_sum(acceptance: float, drafts: int) -> None:
    assert kept(acceptance, drafts) == pytest.approx(sum(acceptance**i for i in range(drafts + 1)))


def test_speculation_pays_least_where_batches_are_large() -> None:
    batch = np.array([1.0, 64.0, 1024.0])
    plain = predict(decode(batch=batch, context=512), details=False)
    drafted = ask(with_(decode(batch=batch, context=512), "medusa-heads"), details=False)
    gains = drafted.throughput["value"] / plain.throughput["value"]
    assert gains[0] > 1.5
    assert gains[0] > gains[1] > gains[2]
    assert gains[2] < 1


@settings(max_examples=6, deadline=None)
@given(
    st.sampled_from(
        ["speculative-decoding", "hierarchical-speculation", "eagle", "prompt-lookup", "self-speculative-decoding"]
    )
)
def test_programs_yield_a_token_for_each_sequence(name: str) -> None:
    answer = ask(with_(decode(), name), details=False)
    assert answer.throughput["value"] == pytest.approx(8 / answer.time)


def test_pages_in_host_memory_leave_the_device_room() -> None:
    """8B weights and 96 K tokens do not fit 24 GB; picked from host memory they do, at the time of the weights."""
    question = decode("llama-3.1-8b", "rtx-4090", batch=1, context=98304)
    whole = predict(question, details=False)
    picked = ask(with_(question, "kv-retrieval-offload"), details=False)
    assert not whole.fits
    assert picked.fits
    assert picked.time < 1.4 * predict(decode("llama-3.1-8b", "rtx-4090", batch=1, context=512), details=False).time


def test_fewer_samples_from_early_on() -> None:
    full, early = (ask(with_(decode(batch=1), f"best-of-n:samples=16,until={u}"), details=False) for u in (1.0, 0.1))
    one, many = (predict(decode(batch=b), details=False) for b in (1, 16))
    assert full.time == pytest.approx(many.time, rel=1e-6)
    assert early.time == pytest.approx(0.1 * many.time + 0.9 * one.time)
    assert full.memory.by_class["kv"] == pytest.approx(many.memory.by_class["kv"])


def test_filling_memory_is_a_sweep_as_well_as_a_loop() -> None:
    contexts = np.array([512.0, 4096.0, 65536.0, 4e6])
    swept = ask(with_(decode(context=contexts), "fill-memory"), details=False)
    batches = np.broadcast_to(swept.scenario.program.workload.batch, (4,))
    for index, context in enumerate(contexts):
        alone = ask(with_(decode(context=context), "fill-memory"), details=False)
        assert float(alone.scenario.program.workload.batch) == batches[index]
        assert bool(alone.fits) is bool(np.broadcast_to(swept.fits, (4,))[index])
    assert batches[3] == 8  # not even one sequence fits: the question stays as asked
