"""``validate`` with a fit: shipped and cross-validated predictions, what they rest on, which kernel runs."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speedlight._foundation.errors import BadInput, MissingDependency
from speedlight.cli.main import main
from speedlight.validation.suite import SUITES
from speedlight.validation.suites import tables
from speedlight.validation.validate import validate

pytest.importorskip("pyarrow", reason="needs the extra 'data'")
pytest.importorskip("scipy", reason="needs the extra 'fit'")
import pyarrow.parquet as pq

from tests.validation import factory


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "shipped", lambda family: None)
        return factory.measured(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def fit(path: Path) -> Any:
    return factory.fit_to(path)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, fit: Any) -> None:
    monkeypatch.setitem(SUITES._members, "gemm", factory.suite())
    monkeypatch.setattr(tables, "shipped", lambda family: fit)


def columns(path: Path) -> dict[str, Any]:
    return dict(pq.read_table(path).to_pydict())


def test_the_shipped_fit_answers_and_says_what_it_rests_on(path: Path, fit: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    result = validate(path, predictions=out)
    assert result["in_sample"] is True
    assert result["fit"]["id"] == fit.header["id"]
    assert result["fit"]["date"] == fit.header["date"]
    assert [e["leave"] for e in result["fit"]["cv"]] == ["group", "device"]
    assert result["metrics"]["latency"]["median_ape"] < 0.08
    assert set(columns(out)["layer"]) == {"calibrated"}
    average = result["averages"]["latency"]
    assert average["classes"] == 8
    classes = result["groups"]["class"]
    assert "h200-sxm-141gb|vllm|bfloat16" in classes
    assert average["median_ape"] == pytest.approx(np.mean([c["latency"]["median_ape"] for c in classes.values()]))
    assert average["mape"] == pytest.approx(np.mean([c["latency"]["mape"] for c in classes.values()]))


def test_another_file_is_out_of_sample(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "gemm.parquet"
    pq.write_table(pq.read_table(path).slice(0, 90), other)
    assert validate(other)["in_sample"] is False


def test_kernels_are_chosen_without_looking_at_the_stated_one(path: Path, tmp_path: Path) -> None:
    stated, blank = tmp_path / "a.parquet", tmp_path / "b.parquet"
    result = validate(path, predictions=stated)
    assert result["kernel"] == {"n": result["rows"], "named_right": 1.0}
    table = pq.read_table(path)
    wrong = ["other"] * table.num_rows
    without = tmp_path / "gemm.parquet"
    pq.write_table(table.set_column(table.column_names.index("kernel_source"), "kernel_source", [wrong]), without)
    assert validate(without, predictions=blank)["kernel"]["named_right"] == 0.0
    assert columns(blank)["predicted_kernel_source"] == columns(stated)["predicted_kernel_source"]
    pq.write_table(table.drop_columns(["kernel_source"]), without)
    result = validate(without, predictions=blank)
    assert result["kernel"] == {"n": 0, "named_right": None}
    assert set(columns(blank)["status"]) == {"ok"}  # who runs a stack does not know its kernels
    assert columns(blank)["predicted_latency"] == columns(stated)["predicted_latency"]


def test_inputs_measured_with_two_kernels_judge_no_choice(path: Path, tmp_path: Path) -> None:
    table = pq.read_table(path)
    twice = columns(path)
    first = {n: c[0] for n, c in twice.items()}
    for name, value in {**first, "kernel_source": "another"}.items():
        twice[name].append(value)
    both = factory.write(tmp_path, "gemm.parquet", twice)
    assert validate(both)["kernel"]["n"] == table.num_rows - 1


def test_blank_classes_are_inferred(path: Path, tmp_path: Path) -> None:
    data = columns(path)
    data["framework"][0] = None
    data["framework"][1] = data["version"][1] = ""
    out = tmp_path / "out.parquet"
    result = validate(factory.write(tmp_path, "gemm.parquet", data), predictions=out)
    assert columns(out)["status"][:3] == ["inferred:framework", "inferred:framework,version", "ok"]
    assert result["predicted"] == result["rows"]
    result = validate(factory.write(tmp_path, "gemm.parquet", columns(path), version=None))
    assert result["status"] == {"inferred:version": result["rows"]}


@pytest.mark.parametrize("by", ["group", "device"])
def test_out_of_fold_predictions(by: str, path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    said: list[str] = []
    result = validate(path, cv=by, predictions=out, progress=said.append)
    assert said
    assert result["cv"] == by
    assert result["in_sample"] is False
    assert result["predicted"] == result["rows"]
    assert result["fit"]["id"].startswith("gemm, refitted")
    assert 0.03 < result["metrics"]["latency"]["median_ape"] < 0.3
    data = columns(out)
    assert data["predicted_latency"] != columns_of_shipped(path, tmp_path)
    for low, p, high, limit in zip(*(data[f"{n}_latency"] for n in ("low", "predicted", "high", "limit")), strict=True):
        assert limit <= low <= p <= high


def columns_of_shipped(path: Path, folder: Path) -> list[float]:
    out = folder / "shipped.parquet"
    validate(path, predictions=out)
    return list(columns(out)["predicted_latency"])


def test_no_row_is_predicted_from_its_own_measurement(path: Path, tmp_path: Path) -> None:
    """Spoiling the measurements of one device leaves that device's left-out predictions as they were."""
    before, after = tmp_path / "a.parquet", tmp_path / "b.parquet"
    validate(path, cv="device", predictions=before)
    data = columns(path)
    spoilt = [m * (10 if d == "NVIDIA H200" else 1) for m, d in zip(data["latency"], data["device"], strict=True)]
    validate(factory.write(tmp_path, "gemm.parquet", data, latency=spoilt), cv="device", predictions=after)
    one, other = columns(before)["predicted_latency"], columns(after)["predicted_latency"]
    for d, x, y in zip(data["device"], one, other, strict=True):
        if d == "NVIDIA H200":
            assert x == pytest.approx(y, rel=1e-6)
    assert one != other


def test_only_the_named_devices_are_left_out(path: Path, tmp_path: Path) -> None:
    out, every = tmp_path / "out.parquet", tmp_path / "every.parquet"
    result = validate(path, cv="device", leave=("NVIDIA H200", "b200-sxm-180gb"), predictions=out)
    validate(path, cv="device", predictions=every)
    some, full = columns(out), columns(every)
    for i, d in enumerate(some["device"]):
        if d in ("NVIDIA H200", "NVIDIA B200"):
            assert some["status"][i] == "ok"
            assert some["predicted_latency"][i] == full["predicted_latency"][i]
            assert some["high_latency"][i] == full["high_latency"][i]  # the interval rests on the other devices' errors
        else:
            assert some["status"][i] == "out-of-scope:not left out"
            assert some["predicted_latency"][i] is None
    assert result["coverage"] == 1.0
    with pytest.raises(BadInput, match="nothing-like-it"):
        validate(path, cv="device", leave=("nothing-like-it",))


def test_rows_without_a_measurement_stay_out_of_scope(path: Path, tmp_path: Path) -> None:
    data = columns(path)
    data["latency"][0], data["latency"][1] = None, 0.0
    data["m"][2] = 0
    out = tmp_path / "out.parquet"
    result = validate(factory.write(tmp_path, "gemm.parquet", data), cv="group", predictions=out)
    assert columns(out)["status"][:4] == ["out-of-scope:not measured"] * 2 + ["invalid:m", "ok"]
    assert result["coverage"] == pytest.approx(1 - 1 / (result["rows"] - 2))


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({"latency": None}, {"cv": "group"}, "no measured column"),
        ({"n": 1024, "k": 1024}, {"cv": "group"}, "fewer than two groups"),
        ({"device": "NVIDIA H200"}, {"cv": "device"}, "1 known device"),
        ({}, {"cv": "rows"}, "rows"),
        ({}, {"leave": ("NVIDIA H200",)}, "--leave"),
        ({}, {"cv": "group", "leave": ("NVIDIA H200",)}, "--leave"),
    ],
)  # fmt: skip
def test_what_cannot_be_cross_validated_says_why(
    changes: dict[str, Any], options: dict[str, Any], says: str, path: Path, tmp_path: Path
) -> None:
    data = columns(path)
    rows = len(data["m"])
    changed = {n: v if v is None else [v] * rows for n, v in changes.items()}
    with pytest.raises(BadInput, match=says):
        validate(factory.write(tmp_path, "gemm.parquet", data, **changed), **options)


def test_without_scipy_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [n for n in sys.modules if n.startswith("speedlight.costs.refit")]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in ("scipy", "sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependency, match=r"scipy.*not installed") as caught:
        validate(path, cv="group")
    assert "speedlight[fit]" in str(caught.value)
    assert validate(path)["in_sample"] is True


def test_the_command_line_passes_it_on(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(path), "--cv", "device", "--leave", "NVIDIA H200, NVIDIA B200", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["predicted"] == 2 * 2 * 48
    assert "left out" in err or "without" in err


def test_bars_hold_for_out_of_fold_errors(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(path), "--cv", "group", "--bar", "latency:mape=0.5", "--json", "-"]) == 0
    assert main(["validate", str(path), "--cv", "group", "--bar", "latency:mape=0.001", "--json", "-"]) == 1
    capsys.readouterr()
