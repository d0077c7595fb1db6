"""Where tests find what lies outside the repository."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SPEEDLIGHT_DATA", ROOT.parent / "shared" / "data"))
MODELS = DATA.parent / "models"
