"""Techniques about serving: what they do to a load, and what they say of a single step."""

from __future__ import annotations

import pytest

import speedlight
from speedlight._foundation.errors import BadInput
from speedlight.engine.serving.simulate import Answer, answer
from speedlight.scenario.file import dumps, loads
from speedlight.scenario.scenario import Scenario
from speedlight.scenario.serving import Engines, Load, Serving
from speedlight.techniques.compose import Refused, applied, parsed
from speedlight.techniques.served import gain_of, whatif_served
from speedlight.techniques.technique import catalogue

LOAD = Load(rate=30.0, isl=1024, osl=64, requests=60)


def asked(load: Load = LOAD, *labels: str, **engines: object) -> Scenario:
    base = speedlight.make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode")
    serving = Serving(load, Engines(**{"policy": "vllm@0", **engines}))  # type: ignore[arg-type]
    return base.replace(serving=serving, techniques=tuple(parsed(x) for x in labels))


def run(load: Load = LOAD, *labels: str, **engines: object) -> Answer:
    return answer(applied(asked(load, *labels, **engines)))


def test_about_a_single_step_they_ask_for_a_load() -> None:
    step = speedlight.make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode", batch=8, context=1024)
    about_loads = [
        t for t in catalogue().values() if t.family == "serving" and {e.stage for e in t.edits} == {"serving"}
    ]
    assert len(about_loads) >= 10
    for technique in about_loads:
        with pytest.raises(Refused, match="single step") as refused:
            applied(step.replace(techniques=(parsed(technique.name),)))
        assert "--rate" in refused.value.hint


def test_joining_at_each_step_beats_waiting_for_the_batch() -> None:
    static = run(policy="static")
    joined = run(LOAD, "continuous-batching", policy="static")
    gain = gain_of(static, joined)
    assert gain.ttft > 5
    assert gain.throughput > 1
    with pytest.raises(Refused, match="at every step already"):
        run(LOAD, "continuous-batching")


def test_chunks_bound_the_gap_between_tokens_and_cost_the_first() -> None:
    gain = gain_of(run(), run(LOAD, "chunked-prefill"))
    assert gain.gap > 1.5
    assert gain.ttft < 1


def test_prompts_elsewhere_leave_decoding_alone_and_take_devices() -> None:
    before, after = run(), run(LOAD, "disaggregated-prefill")
    gain = gain_of(before, after)
    assert gain.tpot > 1.2
    assert after.deployment.devices == 2 * before.deployment.devices
    with pytest.raises(Refused, match="engines of their own already"):
        run(LOAD, "disaggregated-prefill", prefill_replicas=1)


def test_shared_beginnings_save_prefill_and_not_what_decoding_reads() -> None:
    shared = Load(rate=30.0, isl=1024, osl=64, requests=60, shared=768, groups=2)
    before, after = run(shared), run(shared, "prefix-caching")
    assert after.run.counters["prompt_tokens_computed"] < 0.5 * before.run.counters["prompt_tokens_computed"]
    pools = [a.deployment.engine for a in (before, after)]
    assert (pools[0].tables.decode.seconds == pools[1].tables.decode.seconds).all()
    with pytest.raises(Refused, match="begin alike"):
        run(LOAD, "prefix-caching")


def test_an_objective_caps_how_many_run_at_once() -> None:
    tight, loose = (
        applied(asked(LOAD, f"slo-aware-batching:seconds={s}")).serving.engines.max_seqs
        for s in (0.008, 0.03)  # type: ignore[union-attr]
    )
    assert 1 <= tight < loose
    with pytest.raises(Refused, match="one sequence's step alone"):
        applied(asked(LOAD, "slo-aware-batching:seconds=0.001"))


def test_techniques_of_other_families_change_the_steps() -> None:
    slow = Load(rate=2.0, isl=128, osl=64, requests=20)
    assert gain_of(run(slow), run(slow, "weight-only-int")).tpot > 1.3


def test_two_ways_to_batch_exclude_each_other() -> None:
    with pytest.raises(Refused, match=r"serving\.batching"):
        run(LOAD, "continuous-batching", "chunked-prefill", policy="static")


def test_a_load_is_saved_and_replayed() -> None:
    scenario = asked(LOAD, "chunked-prefill", rules={"watermark": 0.02})
    again = loads(dumps(scenario))
    assert again.serving == scenario.serving
    assert answer(applied(again)).metrics == answer(applied(scenario)).metrics


def test_a_ranking_names_what_does_not_apply() -> None:
    names = ("chunked-prefill", "asynchronous-scheduling", "prefix-caching", "nano-batch-overlap")
    before, found = whatif_served(asked(), names=names)
    assert before.metrics["finished"] == 60
    gains = [o.gain.e2el for o in found if o.gain is not None]
    assert gains == sorted(gains, reverse=True)
    assert {o.name for o in found if o.refusal} == {"prefix-caching", "nano-batch-overlap"}
    assert all(o.to_dict()["why_not"]["reason"] for o in found if o.refusal)
    with pytest.raises(BadInput, match="without a load"):
        whatif_served(asked().replace(serving=None))


def test_nano_batches_pay_where_a_large_batch_is_sharded() -> None:
    def gain(model: str, machine: str, batch: int, **degrees: int) -> float:
        times = [
            speedlight.explain(model, machine, phase="decode", batch=batch, context=1024, techniques=t, **degrees).time
            for t in ((), ("nano-batch-overlap",))
        ]
        return float(times[0] / times[1])

    assert gain("llama-2-70b", "dgx-a100-80gb", 512, tp=8) > 1.3
    assert gain("llama-3.1-8b", "h100-sxm-80gb", 4) < 1


def test_tenants_read_their_own_adapters() -> None:
    def more(tenants: int) -> float:
        p = speedlight.explain(
            "llama-3.1-8b", "h100-sxm-80gb", phase="decode", batch=64, context=256,
            techniques=[f"multi-lora-batching:tenants={tenants}"],
        )  # fmt: skip
        return float(p.bytes)

    assert more(9) - more(1) == pytest.approx(8 * 2 * 41_943_040, rel=1e-6)
