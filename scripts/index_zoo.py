"""Rebuild ``frontends/zoo/index.json`` after adding or renaming a bundled model."""

import json
from pathlib import Path

from speedlight.frontends.zoo import build_index

ROOT = Path(__file__).resolve().parents[1] / "src/speedlight/frontends/zoo"

if __name__ == "__main__":
    table = build_index(ROOT / "models")
    (ROOT / "index.json").write_text(json.dumps(table, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(set(table.values()))} models, {len(table)} names")
