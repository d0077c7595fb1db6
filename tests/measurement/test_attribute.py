"""Every second has one cause; causes are told right on traces written by hand."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight.measurement.traces.attribute import CAUSES, attribute
from speedlight.measurement.traces.read import read_set, read_trace
from speedlight.measurement.traces.sorts import kernel_sort, op_sort

from .traces import event, gpu_step, nsys, write


def of(tmp_path, events, **header):
    return attribute(read_trace(write(tmp_path / "t.json", events, **header)))


def test_a_gpu_step_by_hand(tmp_path):
    where = of(tmp_path, gpu_step())
    micro = {cause: round(seconds * 1e6, 3) for cause, seconds in where.seconds.items()}
    # Computing 400–600 and 900–1000; the all-reduce is alone for 600–700; the copy 720–750. The host waits from 640 to 770,
    # within the pause 600–900, but the pause began before: the queue did not run dry because of the wait.
    assert micro["compute"] == 300
    assert micro["communication"] == 100
    assert micro["copies"] == 30
    assert micro["data_loading"] == 300
    assert where.hidden["communication"] == pytest.approx(100e-6)
    assert sum(micro.values()) == pytest.approx(1000)
    assert where.device
    assert where.launches == 3
    assert where.steps == 1
    gemm = next(c for c in where.calls if c.sort == "matmul")
    assert gemm.op == "aten::mm"
    assert json.loads(gemm.shape)[0] == [[512, 1024], [1024, 512]]


def test_a_pause_after_a_wait_is_the_wait(tmp_path):
    events = [
        event("gemm_a", "kernel", 0, 100, tid=9), event("cudaDeviceSynchronize", "cuda_runtime", 50, 60),
        event("gemm_b", "kernel", 160, 40, tid=9),
    ]  # fmt: skip
    where = of(tmp_path, events)
    assert where.seconds["synchronisation"] == pytest.approx(60e-6)
    assert where.seconds["host"] == pytest.approx(0)


def test_two_streams_side_by_side_count_once(tmp_path):
    where = of(tmp_path, [event("gemm", "kernel", 0, 100, tid=1), event("gelu_pointwise", "kernel", 50, 100, tid=2)])
    assert where.seconds["compute"] == pytest.approx(150e-6)
    assert sum(c.busy for c in where.calls) == pytest.approx(200e-6)


def test_on_a_host_inner_operators_count_once(tmp_path):
    events = [
        event("aten::linear", "cpu_op", 0, 100), event("aten::t", "cpu_op", 5, 5), event("aten::addmm", "cpu_op", 20, 70),
        event("aten::copy_", "cpu_op", 25, 10), event("aten::relu", "cpu_op", 120, 30), event("aten::clamp_min", "cpu_op", 125, 20),
    ]  # fmt: skip
    where = of(tmp_path, events)
    assert {c.name: c.count for c in where.calls} == {"aten::addmm": 1, "aten::clamp_min": 1}
    assert where.seconds["compute"] == pytest.approx(90e-6)
    assert where.seconds["host"] == pytest.approx(60e-6)


def test_an_operator_with_a_kernel_between_its_calls_counts_for_itself(tmp_path):
    """A gradient that clears its result first and one that lays it out afterwards: their own part, and the calls' beside it."""
    events = [
        event("aten::convolution_backward", "cpu_op", 0, 400), event("aten::zero_", "cpu_op", 5, 50), event("aten::copy_", "cpu_op", 340, 50),
        event("aten::conv2d", "cpu_op", 500, 120), event("aten::mkldnn_convolution", "cpu_op", 510, 100),
    ]  # fmt: skip
    where = of(tmp_path, events)
    busy = {c.name: round(1e6 * c.busy) for c in where.calls}
    assert busy == {
        "aten::convolution_backward": 300,
        "aten::zero_": 50,
        "aten::copy_": 50,
        "aten::mkldnn_convolution": 100,
    }
    assert where.seconds["compute"] == pytest.approx(500e-6)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 500), st.integers(0, 90), st.integers(0, 3)), min_size=1))
def test_causes_sum_to_the_window(tmp_path_factory, rows):
    names = [
        ("gemm", "kernel"), ("ncclDevKernel_AllReduce", "kernel"), ("Memcpy", "gpu_memcpy"), ("DataLoader.__next__", "user_annotation"),
        ("cudaStreamSynchronize", "cuda_runtime"), ("aten::mm", "cpu_op"), ("gloo:all_reduce", "user_annotation"), ("x", "python_function"),
    ]  # fmt: skip
    events = [event(*names[sort], start, length, tid=tid) for sort, start, length, tid in rows]
    path = tmp_path_factory.mktemp("traces") / "t.json"
    where = attribute(read_trace(write(path, events)))
    assert set(where.seconds) == set(CAUSES)
    assert sum(where.seconds.values()) == pytest.approx(where.window, abs=1e-9)
    assert all(seconds >= 0 for seconds in where.seconds.values())


def test_an_export_of_nsight_systems(tmp_path):
    where = attribute(read_trace(nsys(tmp_path / "t.sqlite")))
    assert where.device
    assert where.seconds["compute"] == pytest.approx(2e-3)
    assert where.seconds["copies"] == pytest.approx(0.5e-3)
    assert where.window == pytest.approx(4e-3)
    assert where.calls[0].sort == "matmul"


def test_ranks_come_in_order(tmp_path):
    for rank in (1, 0):
        write(tmp_path / f"r{rank}.json", gpu_step(), distributedInfo={"rank": rank, "world_size": 2})
    traces = read_set([tmp_path])
    assert [t.rank for t in traces] == [0, 1]
    assert traces[0].world == 2


@pytest.mark.parametrize(
    ("name", "sort"),
    [
        ("ampere_bf16_s16816gemm_bf16_128x128", "matmul"), ("flash_fwd_splitkv_kernel", "attention"),
        ("ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL", "collective"), ("cudnn_ampere_scudnn_winograd_128x128", "conv"),
        ("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel", "norm"), ("triton_poi_fused_add_mul_3", "elementwise"),
        ("triton_red_fused_mean_1", "reduction"), ("Cijk_Ailk_Bljk_HHS_BH", "matmul"), ("softmax_warp_forward", "softmax"),
        ("fused_moe_kernel", "moe"), ("multi_tensor_apply_kernel<adam>", "optimizer"), ("unheard_of", "other"),
    ],
)  # fmt: skip
def test_kernels_by_name(name, sort):
    assert kernel_sort(name) == sort


def test_operators_by_name():
    assert op_sort("aten::as_strided") == "view"
    assert op_sort("aten::add_") == "elementwise"
    assert op_sort("aten::_softmax_backward_data") == "softmax"
    assert op_sort("c10d::allreduce_") == "collective"
