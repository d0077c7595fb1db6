"""What is other on a device beside the host: its points, its kernels by module, messages that the host carries between devices."""

import json

import pytest

from speedlight.hardware.catalogue import load_machine
from speedlight.measurement.bench.evidence import Evidence, Measurement
from speedlight.measurement.bench.machine_file import machine_data, measured_rates
from speedlight.measurement.bench.plan import points
from speedlight.measurement.modules.run import MARK, _spent
from speedlight.measurement.traces.attribute import attribute
from speedlight.measurement.traces.chrome import read_chrome

from .traces import event, write

torch = pytest.importorskip("torch")


def test_an_accelerator_gets_every_operator_of_a_host_and_sizes_that_fill_it():
    there, here = (points(50e6, ("fp32", "bf16", "fp16"), device) for device in ("cuda", "cpu"))
    alone = {"linear_int8", "linear_unpacked"}
    assert {p.op for p in here if p.sort == "operator"} - alone <= {p.op for p in there}
    assert not {p.sort for p in there} & {"stream", "message", "disk"}
    assert max(p.sizes.get("elements", 0) for p in there) * 4 > 16 * 50e6  # far beyond its last cache
    assert len({p.name for p in there}) == len(there)


def test_points_run_as_they_do_on_a_host():
    from speedlight.measurement.bench.accelerator import on_device, waiting

    ran = []
    found, alone = on_device(lambda: ran.append(1), "cpu", 0.01)
    assert ran
    assert found.median > 0
    assert not alone
    assert waiting("cpu") is None


def _evidence(*said):
    made = [Measurement(op, "operator", op, sizes, s, s, s, [s], 1) for op, sizes, s in said]
    return Evidence({}, {"date": "today"}, tuple(made))


def test_a_vendors_ceiling_stays_unless_a_benchmark_comes_out_above():
    machine = load_machine("h100-sxm-80gb")
    square = {"m": 4096, "n": 4096, "k": 4096, "format": "bf16"}
    path = "engines.sm.peaks.matmul.bf16.fp32"
    for flops in (700e12, 1100e12):
        evidence = _evidence(("mm", square, 2 * 4096**3 / flops), ("copy", {"elements": 2**28}, 2**31 / 2.9e12))
        assert measured_rates(evidence, machine)[path][0] == pytest.approx(flops)
        data = machine_data(evidence, machine, "mine")
        peak = next(p for p in data["engines"][0]["peaks"] if p["format"] == "bf16" and p["unit"] == "matmul")
        assert peak["flops"]["value"] == pytest.approx(max(flops, 989.4e12), rel=1e-3)
        assert peak["sparse"] == pytest.approx(1978.8e12, rel=1e-3)
        main = data["tiers"][-1]
        assert main["bandwidth"]["value"] == pytest.approx(3.35e12)
        assert data["tdp"]["value"] == 700
        assert {link["name"] for link in data["links"]} == {"nvlink", "pcie"}


def test_kernels_are_counted_for_the_module_whose_operator_launched_them(tmp_path):
    trace = read_chrome(
        write(
            tmp_path / "t.json",
            [
                event(MARK + "body.fc", "user_annotation", 0, 50, **{"External id": 1}),
                event("aten::linear", "cpu_op", 5, 40, **{"External id": 2}),
                event("aten::addmm", "cpu_op", 8, 30, **{"External id": 3}),
                event("cudaLaunchKernel", "cuda_runtime", 10, 5, correlation=70, **{"External id": 3}),
                event("sm90_gemm", "kernel", 60, 200, tid=20, correlation=70, **{"External id": 3}),
                event("aten::relu", "cpu_op", 60, 10, **{"External id": 4}),
                event("vectorized_elementwise_kernel", "kernel", 260, 40, tid=20, **{"External id": 4}),
            ],
        )
    )
    spent = {(s.path, s.name): (s.count, pytest.approx(s.busy)) for s in _spent(trace)}
    assert spent == {("body.fc", "aten::addmm"): (1, 200e-6), ("", "aten::relu"): (1, 40e-6)}


def test_messages_that_the_host_carries_between_devices(tmp_path):
    def events(name):
        return [
            event("aten::mm", "cpu_op", 0, 20, **{"External id": 7}),
            event("sgemm", "kernel", 20, 100, tid=20, **{"External id": 7}),
            event(name, "user_annotation", 100, 400, tid=3),
            event("elementwise", "kernel", 500, 100, tid=20),
        ]

    gloo = attribute(read_chrome(write(tmp_path / "gloo.json", events("gloo:all_reduce"))))
    assert gloo.seconds["communication"] == pytest.approx(380e-6)
    assert gloo.named["communication"] == "gloo:all_reduce"
    # NCCL's annotation on the host is the call that starts its kernels, which stand for themselves
    nccl = attribute(read_chrome(write(tmp_path / "nccl.json", events("nccl:all_reduce"))))
    assert nccl.seconds["communication"] == 0
    assert json.dumps(nccl.seconds)
