"""Everything here needs torch."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in Path(item.fspath).parents:
            item.add_marker(pytest.mark.torch)
