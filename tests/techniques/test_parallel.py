"""Techniques of parallelism and communication: laws on layouts they are about, refusals, what composes and what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.scenario.scenario import Scenario
from speedlight.techniques.compose import Refused, applied, edited, parsed, settled
from speedlight.techniques.conformance import broken
from speedlight.techniques.technique import catalogue

LLAMA, EXPERTS = "llama-3.1-8b", "mixtral-8x7b"
TRAIN = {"phase": "train", "batch": 64, "isl": 4096, "micro_batch": 1}

LAYOUTS: dict[str, Callable[[], Scenario]] = {
    "replicas": lambda: make_scenario(LLAMA, "dgx-h100x2", **TRAIN, dp=16),
    "shards": lambda: make_scenario(LLAMA, "dgx-h100x2", **TRAIN, dp=16, zero=3),
    "stages": lambda: make_scenario(LLAMA, "dgx-h100x2", **TRAIN, dp=4, pp=4),
    "experts": lambda: make_scenario(EXPERTS, "dgx-h100x2", **TRAIN, dp=16, ep=8),
    "prompt": lambda: make_scenario(LLAMA, "dgx-h100", phase="prefill", batch=2, isl=4096, tp=8),
    "pictures": lambda: make_scenario("pixart-alpha-xl-2-1024-ms", "4x-a100-sxm-80gb", batch=1, phase="forward"),
}  # fmt: skip
OURS = {name: t for name, t in catalogue().items() if t.family == "parallel"}


def with_(question: Scenario, *labels: str) -> Scenario:
    return applied(question.replace(techniques=tuple(parsed(label) for label in labels)))


SLOW = ("replicas", "experts", "pictures")


@pytest.mark.parametrize("layout", [pytest.param(x, marks=[pytest.mark.slow] if x in SLOW else []) for x in LAYOUTS])
def test_laws_hold_on_layouts_of_many_devices(layout: str) -> None:
    asked = LAYOUTS[layout]()
    assert not {name: found for name, t in OURS.items() if (found := broken(t, asked))}


def test_every_technique_applies_somewhere() -> None:
    questions = [make() for make in LAYOUTS.values()] + [
        make_scenario(LLAMA, "dgx-h100x2", **TRAIN, dp=8, tp=2),
        make_scenario(LLAMA, "dgx-h100x2", **TRAIN, dp=4, pp=4, schedule="gpipe"),
        make_scenario(LLAMA, "dgx-h100", phase="decode", batch=8, context=4096, tp=8),
        make_scenario(EXPERTS, "dgx-h100", phase="decode", batch=8, context=4096, tp=8),
    ]
    idle = set()
    for name in OURS:
        for asked in questions:
            try:
                edited(asked, settled((parsed(name),)))
                break
            except Refused:
                continue
        else:
            idle.add(name)
    assert idle <= {"bucketed-gradients"}  # every stack that ships overlaps gradients already


@pytest.mark.parametrize(
    ("layout", "label", "why"),
    [
        ("prompt", "quantized-gradients", "no gradients"), ("replicas", "zero-plus-plus", "shards"),
        ("replicas", "sequence-parallel", "no tensor parallelism"), ("shards", "one-bit-adam", "whole gradient"),
        ("replicas", "interleaved-pipeline", "no pipeline"), ("stages", "chimera", ""), ("prompt", "tensor-parallel", "divided already"),
        ("replicas", "expert-affinity", "no experts"), ("experts", "expert-affinity:stays=0.01", "stay"),
        ("prompt", "displaced-patch-parallel", "no pictures"), ("pictures", "domino", "training"),
        ("replicas", "tensor-parallel:degree=3", "needs 48 devices"), ("replicas", "quantized-gradients:bits=32", "bits already"),
    ],
)  # fmt: skip
def test_refusals_say_why(layout: str, label: str, why: str) -> None:
    asked = LAYOUTS[layout]()
    if not why:
        assert predict(with_(asked, label), details=False).time > 0
        return
    with pytest.raises(Refused, match=why):
        with_(asked, label)


def test_heads_that_do_not_divide_name_the_nearest_that_do() -> None:
    asked = make_scenario("llama-3.1-70b", "h100-sxm-80gb", phase="decode", batch=8, context=4096)
    with pytest.raises(Refused, match="does not divide 64 heads") as caught:
        with_(asked, "tensor-parallel:degree=3")
    assert "2 or 4" in caught.value.hint


def test_how_much_and_how_often_compose_and_two_ways_of_packing_do_not() -> None:
    asked = LAYOUTS["replicas"]()
    both = with_(asked, "quantized-gradients", "local-sgd:period=4")
    wire = both.program.parallel.wire("gradients")
    assert wire.period == 4
    assert wire.share < 0.51
    assert both == with_(asked, "local-sgd:period=4", "quantized-gradients")
    with pytest.raises(Refused, match="wire:gradients"):
        with_(asked, "quantized-gradients", "ternary-gradients")
    with pytest.raises(Refused, match="wire:gradients:when"):
        with_(asked, "local-sgd", "delayed-gradients")
    with pytest.raises(Refused, match="schedule"):
        with_(LAYOUTS["stages"](), "chimera", "zero-bubble")


def test_a_volume_of_one_bit_after_a_warm_up() -> None:
    wire = with_(LAYOUTS["replicas"](), "one-bit-adam:warmup=0.15").program.parallel.wire("gradients")
    assert 1 / wire.share == pytest.approx(4.92, abs=0.01)


def test_thin_matrices_are_thin() -> None:
    from speedlight.techniques.library.parallel.low_rank_gradients import thin_share
    from speedlight.techniques.subject import Subject

    subject = Subject(LAYOUTS["replicas"]())
    shares = [thin_share(subject, rank) for rank in (1, 4, 32)]
    assert shares[0] < shares[1] < shares[2] < 0.2
    assert thin_share(subject, 1e9) == pytest.approx(1.0)


def test_pipedream_pays_in_weights_what_it_saves_in_bubbles() -> None:
    asked = LAYOUTS["stages"]()
    before, after = (predict(s, details=False) for s in (asked, with_(asked, "pipedream")))
    assert after.time < before.time
    assert after.memory.by_class["weights"] == pytest.approx(4 * before.memory.by_class["weights"], rel=0.1)


def test_layered_accumulation_gathers_once_a_step() -> None:
    asked = make_scenario(LLAMA, "dgx-h100x2", phase="train", batch=64, isl=1024, micro_batch=1, dp=16, zero=3)
    before, after = (predict(s, details=False) for s in (asked, with_(asked, "layered-gradient-accumulation")))
    for link in ("link:infiniband", "link:nvlink"):
        assert after.least[link] == pytest.approx(before.least[link] / 4, rel=1e-6)
