"""Write the table of templates into docs/ops-files.md: ``python scripts/ops_page.py`` (a test compares)."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from speedlight.frontends.op_list.templates import TEMPLATES, Argument

PAGE = Path(__file__).resolve().parents[1] / "docs" / "ops-files.md"
START, END = "<!-- templates: generated -->", "<!-- end of templates -->"


def argument(name: str, told: Argument) -> str:
    """One argument: its name, what it is, and what holds where it is left out."""
    if told.sort == "word":
        left = "`" + "`, `".join(told.words) + "`"
    elif told.low is not None:
        left = f"open: {told.low} to {told.high}"
    elif told.sort in ("size", "format") and told.default not in (None, ""):
        left = f"`{told.default}`"
    else:
        left = ""
    about = " ".join(part for part in (told.about, f"({left})" if left else "") if part)
    mark = "**" if told.required else ""
    return f"{mark}`{name}`{mark}" + (f" {about}" if about else "")


def table() -> str:
    """Every template by group, with its formula and arguments."""
    lines: list[str] = []
    groups: dict[str, list[str]] = {}
    for name in TEMPLATES:
        groups.setdefault(TEMPLATES.get(name).group, []).append(name)
    for group, names in groups.items():
        lines += [f"### {group[0].upper()}{group[1:]}", ""]
        for name in names:
            template = TEMPLATES.get(name)
            doc = re.sub(r"\s+", " ", textwrap.dedent(template.expand.__doc__ or "")).strip().replace("``", "`")
            told = "; ".join(argument(n, a) for n, a in template.arguments.items() if n != "out")
            lines += [f"**{name}** — {doc}", "", f"Arguments: {told}.", ""]
    return "\n".join(lines).rstrip()


def page(text: str) -> str:
    """The page with its generated part renewed."""
    head, rest = text.split(START)
    return f"{head}{START}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
