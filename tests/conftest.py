"""Shared fixtures: the measured data folder, and hypothesis settings that fit two cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.folders import DATA

# 25 examples show what 100 do for most laws, and each run draws others; `pytest --hypothesis-profile=thorough` draws 300.
SLOW_TO_DRAW = [HealthCheck.too_slow]
settings.register_profile("default", max_examples=25, deadline=None, suppress_health_check=SLOW_TO_DRAW)
settings.register_profile("thorough", max_examples=300, deadline=None, suppress_health_check=SLOW_TO_DRAW)
settings.load_profile("default")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The measured data; without it the test says what it skipped. CI sets SPEEDLIGHT_REQUIRE_DATA, and then it fails."""
    if not DATA.is_dir():
        if os.environ.get("SPEEDLIGHT_REQUIRE_DATA"):
            pytest.fail(f"the data folder {DATA} is required here and absent")
        pytest.skip(f"no measured data at {DATA} (set SPEEDLIGHT_DATA)")
    return DATA
