"""A diagnosis prices recorded kernels by the same costs as any answer, and ranks what would help."""

import json

import pytest

import speedlight
from speedlight.engine.measured.diagnose import diagnose
from speedlight.engine.measured.recorded import price_recorded
from speedlight.frontends.recorded import Recorded, graph_of
from speedlight.hardware.catalogue import load_machine
from speedlight.measurement.traces.read import read_trace
from speedlight.stacks.stack import load_stack

from ..measurement.traces import event, gpu_step, nsys, served, write


def shape(*dims, dtype="c10::BFloat16", values=None):
    return json.dumps([list(dims), [dtype if d else "Scalar" for d in dims], values or ["" for _ in dims]])


@pytest.mark.parametrize(
    ("op", "record", "flops"),
    [
        ("aten::mm", shape([32, 64], [64, 128]), 2 * 32 * 64 * 128),
        ("aten::addmm", shape([128], [32, 64], [64, 128]), 2 * 32 * 64 * 128),
        ("aten::linear", shape([2, 16, 64], [128, 64], [128]), 2 * 32 * 64 * 128),
        ("aten::bmm", shape([4, 32, 64], [4, 64, 128]), 4 * 2 * 32 * 64 * 128),
        (
            "aten::convolution", shape([8, 3, 224, 224], [64, 3, 7, 7], [], [], [], values=["", "", "", "[2, 2]", "[3, 3]"]),
            2 * 8 * 112 * 112 * 64 * 3 * 49,
        ),
        (
            "aten::mkldnn_convolution", shape([8, 3, 224, 224], [64, 3, 7, 7], [], [], [], values=["", "", "", "[3, 3]", "[2, 2]"]),
            2 * 8 * 112 * 112 * 64 * 3 * 49,
        ),
        (
            "aten::cudnn_convolution", shape([8, 64, 56, 56], [64, 1, 3, 3], [], [], values=["", "", "[1, 1]", "[1, 1]"]),
            2 * 8 * 56 * 56 * 64 * 9,
        ),
        (
            "aten::convolution_backward",
            shape([8, 64, 56, 56], [8, 32, 56, 56], [64, 32, 1, 1], [], [], [], values=["", "", "", "[1, 1]", "[0, 0]", "[True, True, False]"]),
            2 * 2 * 8 * 56 * 56 * 64 * 32,
        ),
        ("aten::_scaled_dot_product_flash_attention", shape([2, 8, 128, 64], [2, 8, 128, 64], [2, 8, 128, 64]), 4 * 2 * 8 * 128 * 128 * 64),
    ],
)  # fmt: skip
def test_work_of_recorded_products(op, record, flops):
    graph, told = graph_of([Recorded(op, record, 3)])
    assert told == (0,)
    ((_, made),) = list(graph.ops())
    count = made.count.constant / 3
    assert sum(w.flops.constant for w in made.work if w.unit == "matmul") * count == flops


@pytest.mark.parametrize(
    "record", ["", "[", "{}", "[1]", "[[[0, 4]], [\"float\"], [\"\"]]", "[[[-3]], [\"float\"], null]", "[[[1e9]], [\"float\"], [\"\"]]", shape([10**9, 10**9])]
)  # fmt: skip
def test_shapes_that_make_no_sense_are_left_out(record):
    assert graph_of([Recorded("aten::mm", record, 1)])[1] == ()


def test_expected_is_never_below_the_limit():
    machine, stack = load_machine("a100-sxm-80gb"), load_stack("torch-eager")
    priced = price_recorded(
        [Recorded("aten::mm", shape([4096, 4096], [4096, 4096]), 2), Recorded("aten::add", shape([2**28], [2**28]), 1)],
        machine,
        stack,
    )
    assert set(priced) == {0, 1}
    assert all(p.time >= p.limit > 0 for p in priced.values())
    assert priced[0].limit == pytest.approx(2 * 2 * 4096**3 / 312e12, rel=0.02)
    assert priced[1].bound == "hbm"


def test_a_trace_of_a_gpu(tmp_path):
    made = diagnose(read_trace(write(tmp_path / "t.json", gpu_step())), "a100-sxm-80gb")
    assert made.first == "data_loading"
    assert made.changes[0].cause == "data_loading"
    assert made.changes[0].gain == pytest.approx(1 / 0.7 - 1)
    matmul = next(c for c in made.classes if c.sort == "matmul")
    assert 0 < matmul.limit <= matmul.expected < matmul.busy
    data = made.to_dict()
    assert sum(data["seconds"].values()) == pytest.approx(data["window"])
    json.dumps(data)


def test_changes_never_save_more_than_there_is(tmp_path):
    made = diagnose(read_trace(write(tmp_path / "t.json", gpu_step())), "a100-sxm-80gb")
    assert all(0 < c.saves <= made.where.window for c in made.changes)
    assert [c.saves for c in made.changes] == sorted((c.saves for c in made.changes), reverse=True)


def test_the_last_rank_is_the_one_that_waits_least(tmp_path):
    def rank(number, message):
        events = [
            event("gemm", "kernel", 0, 100, tid=1),
            event("ncclDevKernel_AllReduce", "kernel", 100, message, tid=1),
        ]
        return write(tmp_path / f"{number}.json", events, distributedInfo={"rank": number, "world_size": 2})

    answer = speedlight.diagnose([rank(0, 50), rank(1, 20)], "dgx-a100-80gb")
    assert answer["ranks"]["last"] == "1"
    assert answer["ranks"]["waited"]["0"] == pytest.approx(30e-6)


def test_two_traces_beside_each_other(tmp_path):
    fast = [e for e in gpu_step() if "DataLoader" not in e["name"]]
    slow = write(tmp_path / "slow.json", gpu_step())
    answer = speedlight.diagnose(slow, "a100-sxm-80gb", against=write(tmp_path / "fast.json", fast))
    assert answer["difference"]["seconds"]["data_loading"]["change"] == pytest.approx(300e-6)
    assert answer["difference"]["classes"]["matmul"]["change"] == pytest.approx(0)


def test_an_export_of_nsight_systems_and_its_model(tmp_path):
    answer = speedlight.diagnose(nsys(tmp_path / "t.sqlite"), "a100-sxm-80gb", model="gpt2-xl", phase="decode", batch=1)
    assert answer["traces"][0]["device"]
    assert answer["predicted"]["measured"] == pytest.approx(4e-3)
    assert answer["predicted"]["limit"] <= answer["predicted"]["time"]


def test_a_server_under_load(tmp_path):
    answer = speedlight.diagnose(served(tmp_path / "b.json"), "h100-sxm-80gb", model="llama-3.1-8b", stack="vllm")
    assert sum(answer["ttft"].values()) == pytest.approx(0.4)
    assert sum(answer["tpot"].values()) == pytest.approx(0.02)
    assert answer["first"] == "waiting"
    assert answer["limit"] <= answer["decode"]
    assert answer["served"]["in_flight"] == pytest.approx(10 * (0.4 + 127 * 0.02))
    assert any("fp8" in change["what"] for change in answer["changes"])
