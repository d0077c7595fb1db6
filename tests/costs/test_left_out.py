"""What cross-validation leaves out, and that all fits of a table side by side are what each is alone."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.costs.refit.crossval import FOLDS, LeftOut, cross_validate, leave_devices_out, leave_groups_out
from speedlight.costs.refit.fitting import training_of
from speedlight.costs.refit.train import Training, residuals, train
from speedlight.evidence.tables import read_table

from ..validation import factory

RULES = factory.small_rules()
TARGET = RULES.targets[0]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Training:
    return training_of(RULES, TARGET, read_table(factory.measured(tmp_path_factory.mktemp("measured"))))


def test_fits_in_one_pool_are_what_each_is_alone(seen: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDLIGHT_CORES", "2")
    said: list[str] = []
    whole, groups, devices = cross_validate(TARGET, seen, said.append)
    assert said[0].endswith("all rows")
    assert len(said) == 1 + FOLDS + len(factory.DEVICES)
    alone = train(TARGET.family, seen.data)
    assert np.array_equal(residuals(TARGET.family, whole, seen.data), residuals(TARGET.family, alone, seen.data))
    same(seen, groups, leave_groups_out(TARGET, seen))
    same(seen, devices, leave_devices_out(TARGET, seen))


def test_only_the_devices_named_are_left_out(seen: Training) -> None:
    name = sorted(set(seen.of("device")))[1]
    left = leave_devices_out(TARGET, seen, (name,))
    assert set(left.parts) == {name}
    assert np.array_equal(np.isfinite(left.residual), seen.of("device") == name)


def same(seen: Training, one: LeftOut, other: LeftOut) -> None:
    assert np.array_equal(one.label, other.label)
    assert np.isfinite(one.residual).all()
    assert np.array_equal(one.residual, other.residual)
    assert set(one.parts) == set(other.parts)
    for value, parts in one.parts.items():
        rows = np.flatnonzero(one.label == value)
        assert np.array_equal(residuals(TARGET.family, parts, seen.data.take(rows)), one.residual[rows])
