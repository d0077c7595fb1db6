"""Local calibration: faults put into a machine on purpose are found from few points, and nothing gets worse."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import speedlight
from speedlight._foundation.errors import BadFile, BadInput
from speedlight.costs import families  # noqa: F401  registers the tables
from speedlight.costs.calibration.local import local_of
from speedlight.costs.calibration.model import Fit
from speedlight.costs.calibration.points import calibrated, forward, points_of
from speedlight.costs.calibration.predict import forecast
from speedlight.costs.calibration.samples import TABLES, assemble
from speedlight.costs.calibration.store import shipped
from speedlight.hardware.calibrated import write_calibrations
from speedlight.hardware.catalogue import load_machine
from speedlight.hardware.machine import LocalCalibration, Machine, PointErrors
from speedlight.validation.calibrate import calibrate
from speedlight.validation.validate import validate

RULES = TABLES.get("gemm")
(TARGET,) = RULES.targets
Size = tuple[int, int, int]
STREAMS: list[Size] = [(m, n, k) for m in (1, 4, 16) for n, k in ((8192, 28672), (14336, 4096))]
PRODUCTS: list[Size] = [(m, n, k) for m in (4096, 8192) for n, k in ((4096, 4096), (8192, 8192), (14336, 4096))]
BARE = PointErrors(0.1, 0.1)


def columns(sizes: list[Size], framework: str = "vllm") -> dict[str, np.ndarray]:
    texts = {"framework": framework, "version": "", "gemm_dtype": "bfloat16"}
    numbers = {name: np.array([s[i] for s in sizes], dtype=float) for i, name in enumerate("mnk")}
    return {**{n: np.array([v] * len(sizes), dtype=object) for n, v in texts.items()}, **numbers}


def seconds(sizes: list[Size], machine: Machine, fit: Fit | None) -> np.ndarray:
    """What is predicted of products on a machine."""
    return forecast(TARGET.family, assemble(RULES, TARGET, columns(sizes), len(sizes), machine), fit).seconds


def slower(machine: Machine) -> Machine:
    """The same machine with a memory that takes 20 % longer than its sheet says."""
    return machine.with_values({f"tiers.{machine.main.name}.bandwidth": machine.main.bandwidth / 1.2})


def noise(count: int, seed: int, size: float = 0.03) -> np.ndarray:
    return np.asarray(np.exp(np.random.default_rng(seed).normal(0.0, size, count)))


def write(path: Path, sizes: list[Size], latency: Any, **more: str) -> Path:
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["m", "n", "k", "gemm_dtype", "latency", *more])
        out.writerows([*s, "bfloat16", t, *more.values()] for s, t in zip(sizes, latency, strict=True))
    return path


def local(framework: str = "vllm", **factors: float) -> LocalCalibration:
    return LocalCalibration(
        "gemm", framework, tuple(factors.items()), 9, "2026-01-31", BARE, BARE, (0.9, 1.2), "mine.csv"
    )


@pytest.fixture(params=["fit", "analytic"])
def fit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fit | None:
    """The fit that ships, and none."""
    found = shipped("gemm") if request.param == "fit" else None
    for module in (
        "speedlight.validation.calibrate",
        "speedlight.validation.suites.tables",
        "speedlight.costs.calibrated",
    ):
        monkeypatch.setattr(f"{module}.shipped", lambda family: found if family == "gemm" else None)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_slow_memory_is_found_from_twelve_points(tmp_path: Path, fit: Fit | None, seed: int) -> None:
    machine = load_machine("h200-sxm-141gb")
    sizes = [*STREAMS, *PRODUCTS]
    true = seconds(sizes, slower(machine), fit)
    path = write(tmp_path / "mine.csv", sizes, true * noise(len(sizes), seed), framework="vllm")
    result = calibrate(path, machine.id, suite="gemm", out=tmp_path / "mine.yaml")
    (own,) = result["calibrations"]
    assert own["model"] == "terms"
    assert own["points"] == 12
    assert own["left_out"] == "each point"
    assert own["after"]["mape"] < 0.6 * own["before"]["mape"]
    assert own["factors"]["memory"] * own["factors"].get("total", 1.0) == pytest.approx(1.2, abs=0.06)
    others = [(2, 6144, 16384), (8, 16384, 8192), (6144, 6144, 6144)]
    mine = load_machine(str(tmp_path / "mine.yaml"))
    error = seconds(others, mine, fit) / seconds(others, slower(machine), fit) - 1
    assert np.abs(error).max() < 0.06
    assert np.abs(seconds(others, machine, fit) / seconds(others, slower(machine), fit) - 1).max() > 0.09


@pytest.mark.parametrize("slow", [1.0, 1.2, 1.6])
def test_five_points_make_nothing_worse(slow: float) -> None:
    """Whatever the device and the noise: other rows' typical error stays within 5 % of what it was."""
    machine = load_machine("h200-sxm-141gb")
    sizes = [*STREAMS, *PRODUCTS]
    samples = assemble(RULES, TARGET, columns(sizes), len(sizes), machine)
    base = seconds(sizes, machine, shipped("gemm")) * slow
    before, after = [], []
    for seed in range(25):
        points, _ = points_of(TARGET.family, samples, shipped("gemm"), base * noise(len(sizes), seed))
        some = np.random.default_rng(seed).permutation(len(sizes))
        found = calibrated(points.take(some[:5]))
        c = np.array([np.log(found.factors.get(name, 1.0)) for name in points.free])
        rest = points.take(some[5:])
        before.append(np.abs(np.log(rest.measured) - forward(rest, 0 * c)[0]).mean())
        after.append(np.abs(np.log(rest.measured) - forward(rest, c)[0]).mean())
        assert np.abs(found.after).mean() <= 1.05 * np.abs(found.before).mean()
    assert np.mean(after) <= 1.05 * np.mean(before)
    if slow > 1.1:
        assert np.mean(after) < 0.6 * np.mean(before)


def test_a_point_with_a_slip_does_not_bend_the_rest() -> None:
    machine = load_machine("h200-sxm-141gb")
    sizes = [*STREAMS, *PRODUCTS]
    samples = assemble(RULES, TARGET, columns(sizes), len(sizes), machine)
    measured = seconds(sizes, machine, shipped("gemm")) * 1.3 * noise(len(sizes), 0)
    measured[3] *= 1000.0  # milliseconds taken for microseconds
    points, _ = points_of(TARGET.family, samples, shipped("gemm"), measured)
    found = calibrated(points)
    c = np.array([np.log(found.factors.get(name, 1.0)) for name in points.free])
    ratio = measured / np.exp(forward(points, c)[0])
    assert np.abs(np.delete(ratio, 3) - 1).max() < 0.25


def test_repeated_points_are_left_out_together(fit: Fit | None) -> None:
    machine = load_machine("h200-sxm-141gb")
    sizes = [*STREAMS[:3], *STREAMS[:3]]
    samples = assemble(RULES, TARGET, columns(sizes), len(sizes), machine)
    points, _ = points_of(TARGET.family, samples, fit, seconds(sizes, machine, fit))
    assert calibrated(points).folds == 3


def test_the_derivative_is_the_share_of_the_time(fit: Fit | None) -> None:
    machine = load_machine("a100-sxm-80gb")
    sizes = [*STREAMS, *PRODUCTS]
    samples = assemble(RULES, TARGET, columns(sizes), len(sizes), machine)
    points, rows = points_of(TARGET.family, samples, fit, np.ones(len(sizes)))
    c = np.full(len(points.free), 0.3)
    log_time, shares = forward(points, c)
    for i in range(c.size):
        step = np.where(np.arange(c.size) == i, 1e-6, 0.0)
        assert (forward(points, c + step)[0] - log_time) / 1e-6 == pytest.approx(shares[:, i], abs=1e-4)
    assert np.exp(forward(points, 0 * c)[0]) == pytest.approx(seconds(sizes, machine, fit)[rows])


@pytest.mark.parametrize("factors", [{"memory": 1.3, "total": 0.9}, {"matmul": 0.01, "memory": 0.01, "total": 0.01}])
def test_laws_hold_under_a_calibration(fit: Fit | None, factors: dict[str, float]) -> None:
    """Never below the limit, inside its interval, and no slower with more bandwidth or a higher peak."""
    machine = dataclasses.replace(load_machine("h200-sxm-141gb"), calibrations=(local(**factors),))
    sizes = [(m, n, k) for m in (1, 7, 64, 900, 4096) for n in (512, 7168) for k in (256, 16384)]
    said = forecast(TARGET.family, assemble(RULES, TARGET, columns(sizes), len(sizes), machine), fit)
    assert set(said.depth) == {"local"}
    assert (said.seconds >= said.limit).all()
    assert (said.low <= said.seconds).all()
    assert (said.low >= said.limit).all()
    assert (said.high >= said.seconds).all()
    for path in ("tiers.hbm.bandwidth", "peaks"):
        faster = machine.scaled(path, 1.25)
        assert (seconds(sizes, faster, fit) <= said.seconds * (1 + 1e-12)).all()


def test_the_engine_layers_it_too_and_says_so(tmp_path: Path, fit: Fit | None) -> None:
    """A linear layer in a model: memory-bound decode follows the memory's factor; other libraries are untouched."""
    machine = load_machine("h100-sxm-80gb")
    asked = {"phase": "decode", "batch": 1, "context": 128, "stack": "vllm"}

    def ask(own: LocalCalibration | None = None) -> Any:
        if own is None:
            return speedlight.explain("llama-3.1-8b", machine.id, **asked)
        path = tmp_path / f"{own.framework}{own.factors}.yaml"
        return speedlight.explain("llama-3.1-8b", str(write_calibrations(path, machine.id, machine, [own])), **asked)

    plain, stranger, neutral, slow = (
        ask(),
        ask(local("sglang", memory=2.0)),
        ask(local(total=1.0)),
        ask(local(total=1.5)),
    )
    assert stranger.time == plain.time
    assert not [a for a in stranger.assumptions if a.what == "local calibration"]
    assert slow.time > 1.3 * neutral.time
    if fit is not None:
        assert neutral.time == pytest.approx(plain.time)
    (said,) = [a for a in slow.assumptions if a.what == "local calibration"]
    assert said.grade == "fitted"
    assert "9 points" in said.value
    assert "total × 1.5" in said.value
    assert "mine.csv" in said.source
    assert slow.low < slow.time < slow.high
    assert slow.time >= slow.limit


def test_equal_framework_only() -> None:
    one, other = local("vllm", memory=1.1), local("", memory=1.2)
    assert local_of((one, other), "gemm", "vllm") is one
    assert local_of((one, other), "gemm", "") is other
    assert local_of((one, other), "gemm", "sglang") is None
    assert local_of((one, other), "moe", "vllm") is None


def test_an_unknown_term_is_named() -> None:
    machine = dataclasses.replace(load_machine("h200-sxm-141gb"), calibrations=(local(memmory=1.2),))
    with pytest.raises(BadInput, match="memmory"):
        seconds(STREAMS, machine, None)


def test_runs_merge_into_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = load_machine("h200-sxm-141gb")
    true = seconds(STREAMS, machine, shipped("gemm"))
    out = tmp_path / "mine.yaml"
    for framework, factor in (("vllm", 1.5), ("sglang", 2.0), ("vllm", 3.0)):
        path = write(
            tmp_path / f"{framework}.csv", STREAMS, true * factor * noise(len(STREAMS), 1), framework=framework
        )
        assert calibrate(path, machine.id, suite="gemm", out=out)["written"] == str(out)
    found = load_machine(str(out))
    assert [(c.family, c.framework, c.source) for c in found.calibrations] == [
        ("gemm", "sglang", "sglang.csv"), ("gemm", "vllm", "vllm.csv"),
    ]  # fmt: skip
    assert (found.id, found.device_id) == ("h200-sxm-141gb-calibrated", machine.id)
    ratio = seconds(STREAMS, found, shipped("gemm")) / true
    assert ratio == pytest.approx(np.full(ratio.size, 3.0), rel=0.1)
    with pytest.raises(BadInput, match="calibrates h200-sxm-141gb, not a100"):
        calibrate(tmp_path / "vllm.csv", "a100-sxm-80gb", suite="gemm", out=out)
    again = calibrate(tmp_path / "vllm.csv", str(out), suite="gemm", out=out)  # from what ships, not from itself
    assert again["calibrations"][0]["before"]["median_ape"] > 0.5
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    on_own = calibrate("vllm.csv", "mine.yaml", suite="gemm", out="sub/other.yaml")
    assert len(load_machine(str(on_own["written"])).calibrations) == 2


def test_it_layers_over_a_machine_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
schema: 1
sort: device
id: mine
name: Mine
vendor: me
kind: gpu
engines:
  - name: sm
    kind: simt
    units: 100
    clock: 1 GHz
    peaks:
      - {unit: matmul, format: bf16, flops: 100 TFLOP/s}
      - {unit: vector, format: fp32, flops: 10 TFLOP/s}
tiers: [{name: hbm, role: main, capacity: 80 GB, bandwidth: 1 TB/s}]
"""
    (tmp_path / "card.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    machine = load_machine("card.yaml")
    true = seconds(STREAMS, machine, None) * 2.0 * noise(len(STREAMS), 3)
    write(tmp_path / "mine.csv", STREAMS, true)
    result = calibrate("mine.csv", "card.yaml", suite="gemm", framework="vllm", out="own.yaml")
    assert result["gained"]
    monkeypatch.chdir("/")
    assert load_machine(str(tmp_path / "own.yaml")).calibrations[0].framework == "vllm"


def test_validate_uses_it(tmp_path: Path, fit: Fit | None) -> None:
    machine = load_machine("h200-sxm-141gb")
    true = seconds(STREAMS, machine, fit) * 1.7 * noise(len(STREAMS), 2)
    path = write(tmp_path / "mine.csv", STREAMS, true, framework="vllm", device="my own string for it")
    assert calibrate(path, machine.id, suite="gemm", out=tmp_path / "mine.yaml")["gained"]
    plain = validate(path, suite="gemm", on=machine.id)
    mine = validate(path, suite="gemm", on=str(tmp_path / "mine.yaml"))
    assert plain["on"] == {"id": machine.id, "calibrations": []}
    assert mine["on"]["calibrations"][0]["family"] == "gemm"
    assert mine["metrics"]["latency"]["mape"] < 0.1 < plain["metrics"]["latency"]["mape"]
    assert mine["metrics"]["latency"]["coverage_80"] >= 0.5
    assert validate(path, suite="gemm")["status"] == {"unknown-device": 6}
    with pytest.raises(BadInput, match="--cv"):
        validate(path, suite="gemm", on=machine.id, cv="group")


def test_rows_of_another_device_are_no_points(tmp_path: Path) -> None:
    true = seconds(STREAMS, load_machine("h200-sxm-141gb"), shipped("gemm"))
    path = write(tmp_path / "mine.csv", STREAMS, true, framework="vllm", device="NVIDIA H200")
    with pytest.raises(BadInput, match="another device: 6"):
        calibrate(path, "a100-sxm-80gb", suite="gemm")


@pytest.mark.parametrize("change", [{"factors": {"memory": 0.0}}, {"interval": [1.1, 1.2]}, {"points": 0}])
def test_a_file_with_nonsense_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    import yaml

    errors = {"median_ape": 0.1, "mape": 0.1}
    entry = {
        "family": "gemm", "framework": "vllm", "factors": {"memory": 1.1}, "points": 5, "date": "2026-01-31",
        "before": errors, "after": errors, "interval": [0.9, 1.1], **change,
    }  # fmt: skip
    data = {"schema": 1, "sort": "calibrated", "id": "x", "machine": "h200-sxm-141gb", "calibration": [entry]}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(BadFile, match=r"calibration\.gemm"):
        load_machine(str(tmp_path / "x.yaml"))


@pytest.mark.data
@pytest.mark.parametrize(
    ("device", "framework", "format"),
    [
        ("NVIDIA B200", "vllm", "fp8_block"),
        ("NVIDIA H200", "vllm", "fp8_block"),
        ("NVIDIA GB200", "vllm", "fp8_block"),
    ],
)
def test_twenty_real_points_help_the_other_rows(
    tmp_path: Path, data_dir: Path, device: str, framework: str, format: str
) -> None:
    """A library nobody measured (its name is blanked), far from what others do: 20 points of one's own set it right."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    filters = [("device", "=", device), ("framework", "=", framework), ("gemm_dtype", "=", format)]
    table = pq.read_table(
        data_dir / "kernels" / "gemm.parquet",
        columns=["device", "gemm_dtype", "m", "n", "k", "latency"],
        filters=filters,
    )
    rows = np.random.default_rng(7).permutation(table.num_rows)[:4020]
    pq.write_table(table.take(pa.array(rows[:20])), tmp_path / "few.parquet")
    pq.write_table(table.take(pa.array(rows[20:])), tmp_path / "rest.parquet")
    machine = load_machine(device, table=True).id
    before = validate(tmp_path / "rest.parquet", suite="gemm", on=machine)["metrics"]["latency"]
    found = calibrate(tmp_path / "few.parquet", machine, suite="gemm", out=tmp_path / "mine.yaml")
    assert found["gained"], before
    after = validate(tmp_path / "rest.parquet", suite="gemm", on=str(tmp_path / "mine.yaml"))["metrics"]["latency"]
    print(device, framework, before, after, found["calibrations"][0]["factors"])
    assert after["median_ape"] < 0.7 * before["median_ape"]
    assert after["mape"] < before["mape"]
    assert 0.6 < after["coverage_80"] < 0.95
