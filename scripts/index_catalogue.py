"""Rebuild ``hardware/catalogue/index.json`` after adding or renaming a machine file."""

import json
from pathlib import Path

from speedlight.hardware.catalogue import build_index

ROOT = Path(__file__).resolve().parents[1] / "src/speedlight/hardware/catalogue"

if __name__ == "__main__":
    table = build_index(ROOT)
    (ROOT / "index.json").write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(table['files'])} machines, {len(table['names'])} further names")
