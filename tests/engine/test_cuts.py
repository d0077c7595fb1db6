"""A network cut between machines: all places at once, what crosses, the laws of the parts."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import speedlight
from speedlight._foundation.errors import BadInput, Unsupported
from speedlight._foundation.expr import const
from speedlight.cli.main import main
from speedlight.engine.cut import Cuts
from speedlight.engine.predict import predict
from speedlight.graph.crossing import crossings, numbered
from speedlight.graph.ir import Block, Graph, Op, Operand, Persistent, Tensor
from speedlight.scenario.file import dumps, loads

SERVER, BOARD = "rtx-4090", "jetson-orin-nano-8gb"


def cut(
    model: str = "resnet50", on: str = SERVER, before: str | Sequence[str] = BOARD, links: str | Sequence[str] = "100 Mbit/s",
    **options: object,
) -> Cuts:  # fmt: skip
    options.setdefault("phase", "forward")
    return speedlight.cuts(model, on, before=before, links=links, **options)


def whole(model: str, on: str, **options: object) -> speedlight.Prediction:
    return speedlight.explain(model, on, **({"phase": "forward"} | options))


# what crosses


def by_hand() -> Graph:
    """x → a → b → c → d = c + a → e, d handed out too: a skip connection and an early result."""
    sizes = {"a": 10, "b": 20, "c": 10, "d": 10, "e": 4}
    tensors = {name: Tensor(name, const(size), "fp32") for name, size in sizes.items()}
    tensors["w"] = Tensor("w", const(1000), "fp32", "weight", Persistent(const(1000)))
    reads = {"a": ("x", "w"), "b": ("a",), "c": ("b",), "d": ("c", "a"), "e": ("d",)}
    ops = tuple(
        Op(name=n, kind="elementwise", fn="f", reads=tuple(Operand(r) for r in of), writes=(Operand(n),))
        for n, of in reads.items()
    )
    x = Tensor("x", const(100), "fp32", "input")
    return Graph("by hand", (Block("all", ops, tensors, outputs=("d", "e")),), {"x": x})


def test_skips_and_early_results_cross_as_long_as_they_are_needed() -> None:
    found = crossings(numbered(by_hand()), {})
    assert [p.name for p in found.places] == ["", "a", "b", "c", "d", "e"]
    #                             x        a        a + b      a + c      d        d + e
    assert list(found.bytes / 4) == [100, 10, 10 + 20, 10 + 10, 10, 10 + 4]
    assert list(found.tensors) == [1, 1, 2, 2, 1, 2]


def test_bytes_at_the_cut_of_a_real_network() -> None:
    found = cut(batch=3)
    at = dict(zip(found.names, found.bytes[0] / 3, strict=True))
    assert at["the beginning"] == 3 * 224 * 224 * 4
    assert at["behind maxpool"] == 64 * 56 * 56 * 4
    assert at["behind layer1.1.conv1"] == (64 + 256) * 56 * 56 * 4  # and the skip connection round it
    assert at["the end"] == 1000 * 4


# laws


@pytest.mark.parametrize(
    ("model", "options"), [("resnet50", {}), ("vit-base", {}), ("llama-3.2-1b", {"phase": "prefill", "isl": 64})]
)
def test_cut_at_an_end_is_all_on_one_machine_and_the_transfer(model: str, options: dict[str, object]) -> None:
    found = cut(model, **options)
    sent = found.bytes[0] / 12.5e6
    assert found.time[0] == pytest.approx(whole(model, SERVER, **options).time + sent[0], rel=1e-9)
    assert found.time[-1] == pytest.approx(whole(model, BOARD, **options).time + sent[-1], rel=1e-9)


def test_parts_on_equal_machines_sum_to_the_whole() -> None:
    found = cut(before=f"{SERVER}#2", links="1000 TB/s", stack="ideal", batch=16)
    one = whole("resnet50", SERVER, stack="ideal", batch=16)
    sent = found.bytes[0] / 1e15
    assert np.all(found.time - sent <= one.time * (1 + 1e-9))
    assert np.all(found.time - sent >= one.time * 0.99)  # fewer weights on each machine: more of them stay in its cache
    answer = found.explain(len(found) // 2)
    assert answer.flops == pytest.approx(one.flops, rel=1e-12)
    assert answer.model["params"] == one.model["params"]
    assert answer.memory.by_class["weights"] < one.memory.by_class["weights"]


@settings(max_examples=8, deadline=None)
@given(share=st.floats(0, 1), batch=st.integers(1, 8), rate=st.floats(1e6, 1e10), latency=st.floats(0, 0.1))
def test_one_call_for_all_cuts_equals_a_call_for_each(share: float, batch: int, rate: float, latency: float) -> None:
    found = cut("vit-base", links=f"{rate:.0f} B/s + {latency:.6f} s", batch=batch)
    point = round(share * (len(found) - 1))
    answer = found.explain(point)
    assert answer.time == pytest.approx(found.time[point], rel=1e-9)
    assert answer.period == pytest.approx(found.period[point], rel=1e-9)
    assert (answer.low, answer.high) == pytest.approx((found.low[point], found.high[point]), rel=1e-9)
    assert sum(stage.time for stage in answer.stages) == pytest.approx(answer.time, rel=1e-9)
    assert sum(row.time for row in answer.ops) == pytest.approx(answer.time, rel=1e-9)
    assert answer.period <= answer.time * (1 + 1e-9)
    assert found.time[found.best("latency")] == found.time[found.fits].min()
    assert found.period[found.best("rate")] == found.period[found.fits].min()


def test_a_stream_is_as_fast_as_its_slowest_place_and_latency_holds_nobody() -> None:
    slow = cut(links="100 Mbit/s + 1 s")
    quick = cut(links="100 Mbit/s")
    assert slow.time == pytest.approx(quick.time + 1, rel=1e-9)
    assert slow.period == pytest.approx(quick.period, rel=1e-9)
    middle = slow.explain(len(slow) // 2)
    near, way, far = middle.stages
    assert middle.period == pytest.approx(max(near.time, way.time - 1, far.time), rel=1e-9)


def test_weights_and_caches_lie_where_their_ops_run() -> None:
    found = cut("llama-3.2-1b", "iphone-13#2", "iphone-13", "1 Gbit/s", phase="decode", context=2000, batch=1)
    one = whole("llama-3.2-1b", "iphone-13", phase="decode", context=2000, batch=1)
    half = found.explain(found.best("rate"))
    ends = found.explain(0), found.explain(len(found) - 1)
    assert ends[0].memory.by_class["kv"] == pytest.approx(one.memory.by_class["kv"], rel=1e-9)
    assert ends[1].memory.by_class["kv"] == 0
    assert 0 < half.memory.by_class["kv"] < one.memory.by_class["kv"]
    assert 1.8 < one.time / half.period <= 2.0  # two equal phones: twice the rate, less what cannot be halved


def test_more_machines_than_two_and_the_way_back() -> None:
    found = cut("vit-base", SERVER, [BOARD, f"{BOARD}#2"], ["1 Gbit/s", "1 Gbit/s"], back="1 Mbit/s + 1 ms", batch=1)
    first, second = found.at
    assert np.all(second >= first)
    places = len(found.cuttable.names)
    assert len(found) == places * (places + 1) // 2
    answer = found.explain(found.best("rate"))
    assert [s.name for s in answer.stages][1::2] == [
        "part 1 of 3 → part 2 of 3", "part 2 of 3 → part 3 of 3", "part 3 of 3 → caller",
    ]  # fmt: skip
    assert answer.stages[-1].time == pytest.approx(4000 / 125e3 + 1e-3, rel=1e-9)
    saved = loads(dumps(answer.scenario))
    assert speedlight.explain(saved).time == pytest.approx(answer.time, rel=1e-12)


# the technique that cuts at a share of the work


def test_a_split_network_is_one_of_its_cuts() -> None:
    """The technique's share of the work names a place; its answer is that cut's, narrowed tensors and all."""
    from speedlight.techniques.compose import ask, parsed

    scenario = speedlight.make_scenario("resnet50", SERVER, batch=1)
    found = speedlight.cuts("resnet50", SERVER, before=BOARD, links="100 Mbit/s", phase="forward", batch=1)
    whole, split, narrow = (
        ask(scenario.replace(techniques=tuple(map(parsed, labels))))
        for labels in ((), ("split-computing",), ("split-computing:narrowed=0.1",))
    )
    point = int(found.cuttable.at_work(0.25))
    assert found.cuttable.work[point] == pytest.approx(0.25, abs=0.01)
    assert split.time == pytest.approx(found.time[point], rel=1e-9)
    assert split.flops == pytest.approx(whole.flops, rel=1e-12)
    sent, less = (next(s.time for s in p.stages if "→" in s.name) for p in (split, narrow))
    assert sent == pytest.approx(found.bytes[0][point] / 12.5e6, rel=1e-9)
    assert less == pytest.approx(sent / 10, rel=1e-9)
    assert split.stages[0].place == BOARD


def test_work_in_front_of_a_cut_rises_from_none_to_all() -> None:
    work = speedlight.cuts("vit-base", SERVER, before=BOARD, links="1 Gbit/s", phase="forward", batch=2).cuttable.work
    assert (work[0], work[-1]) == (0.0, pytest.approx(1.0, rel=1e-12))
    assert np.all(np.diff(work) >= 0)


def test_splits_of_a_sweep_are_each_points_own() -> None:
    """Batches and shares together: every point is cut at its own place and sends its own bytes."""
    from speedlight.techniques.compose import Set, edited
    from speedlight.techniques.technique import find

    technique = find("split-computing")

    def answer(share: object, **sizes: object) -> speedlight.Prediction:
        asked = speedlight.make_scenario("llama-3.2-1b", SERVER, phase="prefill", **sizes)
        return predict(edited(asked, (Set(technique, technique.settings({"share": share})),)), details=False)

    shares, batches, lengths = np.array([0.0, 0.3, 1.0]), np.array([1.0, 2.0, 4.0]), np.array([64.0, 512.0, 64.0])
    swept = answer(shares, batch=batches, isl=lengths)
    for i in range(3):
        alone = answer(float(shares[i]), batch=float(batches[i]), isl=float(lengths[i]))
        assert swept.time[i] == pytest.approx(float(alone.time), rel=1e-9)


# at the door


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "resnet50", "--on", SERVER, "--before", BOARD, "--link", "100 Mbit/s + 5 ms", "--cut", "rate"]
    assert main([*words, "--json", "-"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["time"] == pytest.approx(answer["cuts"]["best"]["rate"]["time"], rel=1e-9)
    assert answer["period"] == pytest.approx(answer["cuts"]["best"]["rate"]["period"], rel=1e-9)
    assert len(answer["cuts"]["rows"]) == answer["cuts"]["points"]
    assert answer["phase"] == "forward"
    assert main(words) == 0
    assert "best rate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--link", "1 Gbit/s"), "--before"),
        (("--before", BOARD), "--link"),
        (("--before", BOARD, "--link", "soon"), "a rate"),
        (("--before", BOARD, "--link", "1 Gbit/s + soon"), "quantity"),
        (("--before", BOARD, "--link", "1 Gbit/s", "--cut", "money"), "latency or rate"),
        (("--before", SERVER, "--link", "1 Gbit/s"), "another one of the same"),
        (("--before", BOARD, "--link", "1 Gbit/s", "--link", "1 Gbit/s"), "one for each"),
        (("--before", BOARD, "--link", "1 Gbit/s", "--tp", "2"), "--tp 1"),
        (("--before", BOARD, "--link", "1 Gbit/s", "--phase", "train"), "forward"),
    ],
)
def test_bad_questions_end_in_a_sentence(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "resnet50", "--on", SERVER, *words]) == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_cut() -> None:
    with pytest.raises(Unsupported, match="generate"):
        cut("llama-3.2-1b", phase="generate")
    with pytest.raises(BadInput, match="arrays"):
        cut(batch=np.array([1, 2]))
    with pytest.raises(BadInput, match="money"):
        cut().best("money")
