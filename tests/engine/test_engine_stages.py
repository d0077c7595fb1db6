"""A served engine of pipeline stages: what each holds, what its steps take, what a load sees."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from speedlight import make_scenario
from speedlight._foundation.errors import BadInput
from speedlight.engine.questions.resolve import resolve
from speedlight.engine.serving.deploy import deployed
from speedlight.engine.serving.engine_memory import engine_memory, fullest
from speedlight.engine.serving.served_steps import Served, served
from speedlight.engine.serving.simulate import Answer, answer, saturation
from speedlight.engine.serving.stages import boxes, send_seconds, shares_of
from speedlight.placement.serving import Layout
from speedlight.scenario.serving import Engines, Load, Serving


@lru_cache(maxsize=8)
def engine(pp: int, model: str = "llama-3.1-8b") -> Served:
    return served(make_scenario(model, "dgx-h100", stack="vllm", phase="decode", pp=pp))


def run(load: Load, pp: int, **engines: object) -> Answer:
    asked = make_scenario("llama-3.1-8b", "dgx-h100", stack="vllm", phase="decode", pp=pp)
    return answer(asked.replace(serving=Serving(load, Engines(**engines))))  # type: ignore[arg-type]


def test_stages_hold_the_model_between_them() -> None:
    """Llama 3.1 8B: 16.06 GB, its head and its embeddings 1.05 GB each; 8 of 32 layers keep 32,768 bytes a token."""
    resolved = resolve(make_scenario("llama-3.1-8b", "dgx-h100", stack="vllm", phase="decode"))
    whole = engine_memory(resolved, Layout())
    parts = [engine_memory(resolved, Layout(pp=4), share=s) for s in shares_of(resolved, Layout(pp=4))]
    assert sum(p.weights for p in parts) == pytest.approx(whole.weights, rel=1e-9)
    assert sum(p.token for p in parts) == pytest.approx(whole.token, rel=1e-9)
    assert {p.token for p in parts} == {32768.0}
    assert parts[0].weights - parts[1].weights == pytest.approx(128256 * 4096 * 2)
    assert fullest(resolved, Layout(pp=4))[0].weights == max(p.weights for p in parts)


def test_more_stages_less_on_each_and_more_room() -> None:
    weights = [engine(pp).memory.weights for pp in (1, 2, 4)]
    tokens = [engine(pp).memory.tokens for pp in (1, 2, 4)]
    assert weights[0] > weights[1] > weights[2] > weights[0] / 4
    assert tokens[2] > 2 * tokens[1] > 4 * tokens[0], "half the weights leave more than twice the room"


def test_a_pass_takes_the_engine_s_step_and_the_sends() -> None:
    one, four = engine(1), engine(4)
    assert one.stages == ()
    for name in ("decode", "prefill"):
        np.testing.assert_allclose(getattr(four.tables, name).seconds, getattr(one.tables, name).seconds, rtol=1e-9)
    sent = four.tables.tokens.seconds - one.tables.tokens.seconds
    assert np.all(sent > 0)
    assert sent[0, 0] < 1e-4
    grown = (sent[-1, 0] - sent[0, 0]) / 3
    assert grown > 16384 * 4096 * 2 / 450e9, "no faster than NVLink's 450 GB/s"


def test_stages_in_other_boxes_are_reached_by_their_ports() -> None:
    """A lone device sits in a box of its kind; 16 devices of boxes of eight are two boxes, whose ports (400 Gb/s a device) carry
    what a stage of eight hands on."""
    box = resolve(make_scenario("llama-3.1-8b", "dgx-h100", stack="vllm", phase="decode"))
    alone = resolve(make_scenario("llama-3.1-8b", "h100-sxm-80gb", stack="vllm", phase="decode"))
    assert boxes(box.machine, 8) is box.machine
    assert boxes(alone.machine, 1) is alone.machine
    assert boxes(alone.machine, 2).n_devices == 2
    assert boxes(box.machine, 16).n_devices == 16
    moved = 16384 * 4096 * 2
    inside, across = (float(send_seconds(box, Layout(tp, 1, tp, 1, 2), np.array(16384.0), 4096.0)) for tp in (4, 8))
    assert across > 1.5 * inside
    assert across > moved / 50e9 > inside / 3


def test_the_last_stage_has_the_head() -> None:
    times = [float(s.tokens(1, 1)) for s in engine(4).stages]
    assert times[1] == times[2] < times[3]


def test_layers_as_dealt_by_hand() -> None:
    even = engine(2)
    asked = make_scenario("llama-3.1-8b", "dgx-h100", stack="vllm", phase="decode", pp=2, last=12)
    uneven = served(asked)
    assert uneven.kv_bytes == 20 * 4096.0
    assert uneven.memory.tokens < even.memory.tokens
    with pytest.raises(BadInput):
        served(make_scenario("llama-3.1-8b", "dgx-h100", stack="vllm", phase="decode", pp=64))


PROMPTS = Load(concurrency=64, isl=2000, osl=2, requests=256, spread=0.3)


@pytest.mark.slow
def test_throughput_rises_with_the_stages_and_never_above_them() -> None:
    found = {pp: run(PROMPTS, pp).metrics["output_throughput"] for pp in (1, 2, 4)}
    assert found[1] < found[2] < 2 * found[1]
    assert found[2] < found[4] < 4 * found[1]
    assert found[4] > 2.5 * found[1], "prompts keep stages busy"


@pytest.mark.slow
def test_one_user_waits_for_all_stages() -> None:
    alone = Load(concurrency=1, isl=500, osl=20, requests=3)
    one, four = run(alone, 1).metrics, run(alone, 4).metrics
    assert one["tpot"]["mean"] < four["tpot"]["mean"] < 1.05 * one["tpot"]["mean"]


@pytest.mark.slow
def test_devices_and_saturation() -> None:
    asked = make_scenario("llama-3.1-8b", "dgx-h100", stack="vllm", phase="decode", pp=2)
    load = Load(rate=1.0, isl=1000, osl=50)
    two, _, notes = deployed(asked, Engines())
    one, _, _ = deployed(
        asked.with_program(parallel=make_scenario("llama-3.1-8b", "dgx-h100").program.parallel), Engines()
    )
    assert (one.devices, two.devices) == (1, 2)
    assert saturation(one, load) < saturation(two, load) < 2 * saturation(one, load)
    assert any(note.what == "pipeline stages" for note in notes)


def test_one_stage_is_bit_for_bit_what_it_was() -> None:
    """Stated or not, a pipeline of one prices and holds the same."""
    plain = served(make_scenario("llama-3.1-8b", "dgx-h100", stack="vllm", phase="decode"))
    assert engine(1).tables.tokens.seconds.tobytes() == plain.tables.tokens.seconds.tobytes()
    assert engine(1).memory == plain.memory
