"""Modules are captured by torch."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
