"""Pictures in strips: work divides, what looks further travels."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.frontends.source import load_graph
from speedlight.placement.patches import in_strips, strips


def step(cp: object = 1) -> object:
    return make_scenario("sd-2.1", "dgx-a100-80gb", phase="forward", batch=1, cp=cp, context_kind="gather")


def test_only_denoisers_over_their_height_are_dealt_out() -> None:
    assert strips(load_graph("sd-2.1"))
    assert not strips(load_graph("pixart-alpha-xl-2-1024-ms"))  # tokens: context parallelism as of any transformer
    assert not strips(load_graph("bert-large"))


def test_all_strips_together_do_the_work_of_the_whole() -> None:
    whole, dealt = (predict(step(cp), details=False) for cp in (1, 8))
    # text and time embeddings are small and stay whole on every device
    assert float(whole.flops) <= float(dealt.flops) <= 1.05 * float(whole.flops)
    assert dealt.memory.by_class["activations"] < whole.memory.by_class["activations"]
    assert dealt.memory.by_class["weights"] == whole.memory.by_class["weights"]


def test_every_sort_of_message_is_there_and_none_on_one_device() -> None:
    graph = in_strips(load_graph("sd-2.1"))
    sent = {op.name.rpartition(".")[2] for _, op in graph.ops() if op.message is not None}
    assert sent == {"keys", "edges", "sums"}
    alone = predict(step(1))
    assert not [op for op in alone.ops if op.kind == "collective"]


def test_a_sweep_over_strips_equals_its_points() -> None:
    swept = predict(step(np.array([1, 2, 4])), details=False)
    for index, cp in enumerate((1, 2, 4)):
        assert float(swept.time[index]) == pytest.approx(float(predict(step(cp), details=False).time), rel=1e-9)
