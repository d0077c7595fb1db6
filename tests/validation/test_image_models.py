"""vision_throughput: rows become questions, questions predictions; fits see only what they may."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from speedlight.costs.calibration.model import quantiles_of
from speedlight.costs.refit.whole import Wholes
from speedlight.validation.image_models.fitting import (
    FAMILIES,
    LeftOut,
    Rows,
    bands_left_out,
    errors,
    leave_devices_out,
    ordered,
    spreads_of,
)
from speedlight.validation.image_models.networks import alike
from speedlight.validation.image_models.observed import observe
from speedlight.validation.image_models.questions import Question, questions, version_of
from speedlight.validation.validate import validate

COLUMNS = ["model", "image_size", "mode", "precision", "layout", "compiled", "torch", "device", "batch_size"]


def table(tmp_path: Path, rows: list[list[object]], **more: list[object]) -> Path:
    path = tmp_path / "vision_throughput.parquet"
    pd.DataFrame(rows, columns=COLUMNS).assign(**more).to_parquet(path)
    return path


def row(
    model: str = "resnet18", size: object = 224, batch: object = 64, device: str = "rtx4090", **change: object
) -> list[object]:
    words = {"mode": "infer", "precision": "amp", "layout": "nchw", "compiled": False, "torch": "240", **change}
    return [model, size, *words.values(), device, batch]


@pytest.mark.parametrize(
    ("digits", "version"),
    [("113", "1.13"), ("112", "1.12"), ("210", "2.1"), ("240", "2.4"), ("291", "2.9"), ("2100", "2.10")],
)
def test_versions_as_the_table_writes_them(digits: str, version: str) -> None:
    assert version_of(digits) == version


def test_rows_that_differ_in_batch_alone_are_one_question() -> None:
    rows = [row(batch=32), row(batch=64), row(layout="nhwc"), row(batch=-1), row(size=224.5)]
    columns = {name: np.array([r[i] for r in rows], dtype=object) for i, name in enumerate(COLUMNS)}
    asked = {q.layout: own.tolist() for q, own in questions(columns, len(rows))}
    assert asked == {"nchw": [0, 1], "nhwc": [2]}


def test_every_row_gets_an_answer_or_a_reason(tmp_path: Path) -> None:
    rows = [row(), row(batch=256), row("no_such_net"), row(device="abacus"), row(batch=0), row(precision="fp3")]
    out = tmp_path / "out.parquet"
    report = validate(table(tmp_path, rows), predictions=out)
    said = pd.read_parquet(out)
    assert said.status.str.partition(":")[0].tolist() == [
        "ok",
        "ok",
        "unknown-model",
        "unknown-device",
        "invalid",
        "unsupported",
    ]
    good = said[said.status == "ok"]
    assert (good.limit_latency <= good.low_latency).all()
    assert (good.low_latency <= good.predicted_latency).all()
    assert (good.predicted_latency <= good.high_latency).all()
    np.testing.assert_allclose(good.predicted_samples_per_s, good.batch_size / good.predicted_latency)
    assert (good.limit_samples_per_s >= good.high_samples_per_s).all()
    assert said.predicted_latency[2:].isna().all()
    assert report["predicted"] == 2


def test_measurements_are_not_looked_at(tmp_path: Path) -> None:
    rows = [row(), row("mobilenetv3_small_050")]
    told = []
    for factor in (1.0, 9.0):
        out = tmp_path / "out.parquet"
        extra = {n: [factor] * 2 for n in ("latency", "samples_per_s", "gmacs", "mega_activations", "params_millions")}
        validate(table(tmp_path, rows, **extra), predictions=out)
        told.append(pd.read_parquet(out).predicted_latency.tolist())
    assert told[0] == told[1]


def test_kernels_kept_are_kernels_looked_at(tmp_path: Path) -> None:
    question = Question("resnet18", 224, "infer", "amp", "nchw", False, "240", "rtx4090")
    asked = [(question, np.array([0, 1]))]
    batch = np.array([64.0, 256.0])
    fresh = observe(asked, batch, tmp_path, lambda _: None)
    kept = observe(asked, batch, tmp_path, lambda _: None)
    assert fresh.tables.keys() == kept.tables.keys() >= {"conv", "stream", "product"}
    np.testing.assert_array_equal(fresh.amounts, kept.amounts)
    for sort, seen in fresh.tables.items():
        assert seen.keys == kept.tables[sort].keys
        for name, values in seen.columns.items():
            np.testing.assert_array_equal(values, kept.tables[sort].columns[name])


def test_a_network_is_another_where_work_and_parameters_both_differ() -> None:
    """ResNet-18: 1.82 GMACs, 11.69 M parameters; a printed head more or attention less is no other network."""
    question = Question("resnet18", 224, "infer", "amp", "nchw", False, "240", "rtx4090")
    (ours,) = observe([(question, np.array([0]))], np.array([8.0]), None, lambda _: None).amounts
    assert ours == pytest.approx([1.82, 1.82, 11.69], rel=5e-3)
    printed = [(1.82, 11.69), (1.82, 33.0), (3.6, 11.69), (3.6, 21.8), (np.nan, np.nan), (np.nan, 21.8)]
    gmacs, params = (np.array(column) for column in zip(*printed, strict=True))
    assert alike(np.tile(ours, (6, 1)), gmacs, params).tolist() == [True, True, True, False, True, True]


def test_a_stranger_s_interval_adds_what_devices_and_what_models_are_off_by() -> None:
    """Two devices off by -0.1 and +0.1, as eight others elsewhere, models on each by a spread of 0.05: √((0.1 · t)² + (0.05 · 1.28)²), t = 1.37
    of 10."""
    rng = np.random.default_rng(0)
    device = np.repeat(["a", "b"], 4000)
    size = device.size
    rows = Rows(
        wholes=None, group=np.arange(size).astype(str), kind=np.full(size, "gpu"), device=device,
        memory=np.full(size, "gddr"), setting=np.array([f"{d} amp infer" for d in device]), framework=np.full(size, "torch-eager"), step=np.full(size, ""),
        batch=np.ones(size), network=np.ones(size, dtype=bool), ours=np.ones(size, dtype=bool),
    )  # type: ignore[arg-type]  # fmt: skip
    residual = np.where(device == "a", -0.1, 0.1) + rng.normal(0, 0.05, size)
    low, high = spreads_of(rows, None, residual)["gpu"].quantiles["stranger",]
    assert high == pytest.approx(np.hypot(0.1 * 1.372, 0.05 * 1.2816), rel=0.03)
    assert low == pytest.approx(-high, rel=0.05)
    modes = np.where(device == "a", "a amp infer", "b amp train")
    alone = spreads_of(dataclasses.replace(rows, setting=modes), residual, residual)["gpu"].quantiles
    assert alone["stranger",][1] == pytest.approx(3 * alone["known",][1])  # nothing was measured on both
    kernels = dataclasses.replace(rows, network=device != "a")
    told = spreads_of(kernels, residual, None)[
        "gpu"
    ].quantiles  # b's rows alone are networks: nearly all of them above 0
    slow = told["known",]
    assert -0.01 < slow[0] < 0
    assert slow[1] == pytest.approx(0.1 + 0.05 * 1.2816, rel=0.03)


def test_a_sort_of_memory_left_out_is_not_what_devices_are_off_by() -> None:
    """Two devices of a sort off by 0.1, the only one of another by 0.9: a further device is off as the two are, and eight elsewhere; with
    no two of a sort, as all are."""
    device = np.repeat(["a", "b", "c"], 4000)
    size = device.size
    rows = Rows(
        wholes=None, group=np.arange(size).astype(str), kind=np.full(size, "gpu"), device=device,
        memory=np.where(device == "c", "hbm", "gddr"), setting=np.array([f"{d} amp infer" for d in device]),
        framework=np.full(size, "torch-eager"), step=np.full(size, ""), batch=np.ones(size), network=np.ones(size, dtype=bool), ours=np.ones(size, dtype=bool),
    )  # type: ignore[arg-type]  # fmt: skip
    residual = np.select([device == "a", device == "b"], [-0.1, 0.1], 0.9)
    assert spreads_of(rows, None, residual)["gpu"].quantiles["stranger",][1] == pytest.approx(0.1 * 1.372, rel=1e-3)
    apart = dataclasses.replace(rows, memory=device)
    far = np.sqrt((0.1**2 + 0.1**2 + 0.9**2) / 3)
    assert spreads_of(apart, None, residual)["gpu"].quantiles["stranger",][1] == pytest.approx(far * 1.638, rel=1e-3)


def test_training_and_inference_have_intervals_of_their_own() -> None:
    """Four times the spread in training: bands of models left out hold 80 % of either. Those of a device left out are wider by what devices
    elsewhere are off by, though these two are not."""
    rng = np.random.default_rng(1)
    size = 8000
    device, step = np.tile(["a", "b"], size // 2), np.repeat(["", "train"], size // 2)
    residual = rng.normal(0, np.where(step == "train", 0.2, 0.05))
    rows = Rows(
        wholes=Wholes({}, np.exp(residual), np.ones(size)), group=np.arange(size).astype(str), kind=np.full(size, "gpu"),
        device=device, memory=np.full(size, "gddr"), setting=np.array([f"{d} amp {s or 'infer'}" for d, s in zip(device, step, strict=True)]),
        framework=np.full(size, "torch-eager"), step=step, batch=np.ones(size), network=np.ones(size, dtype=bool), ours=np.ones(size, dtype=bool),
    )  # fmt: skip
    said = spreads_of(rows, residual, residual)["gpu"]
    for at, width in (("", 0.05), ("train", 0.2)):
        for depth, key in (("known", {"device": "a", "framework": "torch-eager"}), ("stranger", {"device": "c"})):
            low, high = quantiles_of(said, {**key, "step": at}, depth)
            devices = 1.372 * np.sqrt(8 * 0.1**2 / 10) if depth == "stranger" else 0.0
            assert high == pytest.approx(np.hypot(1.2816 * width, devices), rel=0.1)
            assert low == pytest.approx(-high, rel=0.1)
    for by, label in (("group", np.arange(size) % 5), ("device", device)):
        low, high = bands_left_out(rows, LeftOut(np.ones(size), label, {}), by)
        for at in ("", "train"):
            inside = ((residual >= low) & (residual <= high))[step == at].mean()
            assert inside == pytest.approx(0.8, abs=0.03) if by == "group" else inside > 0.8


def test_a_device_left_out_is_priced_by_what_devices_share() -> None:
    names = [("resnet18", "a"), ("resnet34", "a"), ("mobilenetv3_small_050", "b"), ("mobilenetv3_small_075", "b")]
    asked, group, device = [], [], []
    for model, module in names:
        for machine in ("rtx4090", "rtx3090"):
            question = Question(model, 224, "infer", "amp", "nchw", False, "240", machine)
            asked.append((question, np.array([len(asked)])))
            group.append(module)
            device.append(question.machine())
    seen = observe(asked, np.full(len(asked), 256.0), None, lambda _: None)
    truth = np.array([0.03, 0.05, 0.06, 0.1, 0.006, 0.011, 0.008, 0.015])
    setting = np.array([f"{d} amp" for d in device])
    rows = Rows(
        wholes=seen.wholes(truth), group=np.array(group), kind=np.full(8, "gpu"), device=np.array(device),
        memory=np.full(8, "gddr"), setting=setting, framework=np.full(8, "torch-eager"), step=np.full(8, ""), batch=np.full(8, 256.0), network=np.ones(8, dtype=bool), ours=np.ones(8, dtype=bool),
    )  # fmt: skip
    left = leave_devices_out(rows, lambda _: None)
    assert np.isfinite(left.seconds).all()
    for parts in left.parts.values():
        assert all("device" not in f.block.per for part in parts.values() for f in part.blocks)
    spreads = spreads_of(rows, None, left.residual(truth))
    low, high = spreads["gpu"].quantiles["stranger",]
    assert low < 0 < high
    assert errors("device", rows, left)["median_ape"] < 0.6
    assert all(("device",) in [b.per for b in family.shared] for family in FAMILIES.values())


def test_order_counts_pairs_that_differ() -> None:
    measured, batch = np.array([1.0, 1.1, 2.0]), np.ones(3)
    assert ordered(np.array([1.0, 0.9, 3.0]), measured, batch) == 1.0  # the first two are too close to count
    assert ordered(np.array([3.0, 0.9, 2.5]), measured, batch) == 0.5
