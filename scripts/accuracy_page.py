"""Write ``docs/accuracy.md`` from ``validate``: nothing on that page is typed by hand.

Usage: ``python scripts/accuracy_page.py [DATA_FOLDER]`` (default ``../shared/data``).
"""

from __future__ import annotations

import sys
from pathlib import Path

from speedlight._foundation.files import write_atomically
from speedlight.report.accuracy import accuracy_markdown
from speedlight.validation.everything import validate_all

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT.parent / "shared" / "data")
    result = validate_all(data, lambda text: print(text, file=sys.stderr))
    write_atomically(ROOT / "docs" / "accuracy.md", accuracy_markdown(result))


if __name__ == "__main__":
    main()
