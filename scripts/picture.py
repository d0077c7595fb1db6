"""Draw ``docs/img/explain.svg``: the README's picture, from a real answer."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

import speedlight
from speedlight.report.text import render_explain

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    answer = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="decode")
    console = Console(record=True, width=104, force_terminal=True, file=io.StringIO())
    console.print(render_explain(answer))
    svg = console.export_svg(title="speedlight explain llama-3.1-8b --on h100-sxm-80gb --phase decode", theme=MONOKAI)
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # the picture loads nothing from the network
    target = ROOT / "docs" / "img" / "explain.svg"
    target.write_text(svg, encoding="utf-8")
    print(f"{target.relative_to(ROOT)}: {len(svg) / 1e3:.0f} kB")
