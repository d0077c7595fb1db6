"""Write ``docs/accuracy.md`` from ``validate``: nothing on that page is typed by hand.

Usage: ``python scripts/accuracy_page.py [DATA_FOLDER [SUITE …]]`` (default ``../shared/data`` and every suite). With suites named, their
rows and sections alone are renewed, which is what a refit of their fits changes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from speedlight._foundation.errors import BadInput
from speedlight._foundation.files import write_atomically
from speedlight.report.accuracy import accuracy_markdown
from speedlight.validation.everything import validate_all

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "accuracy.md"
SECTION = "\n## "


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT.parent / "shared" / "data")
    suites = sys.argv[2:]
    result = validate_all(data, lambda text: print(text, file=sys.stderr), suites)
    page = accuracy_markdown(result)
    write_atomically(PAGE, renewed(PAGE.read_text(), page) if suites else page)


def renewed(page: str, part: str) -> str:
    """The page with the rows and sections that a page of some suites has.

    Raises:
        BadInput: if the page lacks one of them, or has another number of rows for it.
    """
    head, *sections = page.split(SECTION)
    own_head, *own = part.split(SECTION)
    rows = [line for line in own_head.splitlines() if line.startswith("| ") and not line.startswith("| suite |")]
    suites = {row.split("|")[1].strip() for row in rows}
    kept = head.splitlines()
    places = [i for i, line in enumerate(kept) if line.startswith("| ") and line.split("|")[1].strip() in suites]
    found = {text.split("\n")[0]: text.rstrip("\n") + "\n" for text in own}
    names = [text.split("\n")[0] for text in sections]
    if len(places) != len(rows) or not set(found) <= set(names):
        raise BadInput(f"the page has other rows of {sorted(suites)}", hint="write the whole page")
    for place, row in zip(places, rows, strict=True):
        kept[place] = row
    return SECTION.join(
        ["\n".join(kept) + "\n", *(found.get(n, text) for n, text in zip(names, sections, strict=True))]
    )


if __name__ == "__main__":
    main()
