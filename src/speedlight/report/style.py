"""Style sheets for pages, notebooks and pictures: colour variables for light and dark, then the packaged rules."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from .theme import FAMILIES, MEMORY_CLASSES, css_variables

_LIGHT = (
    "--page:#f4f5f8;--card:#ffffff;--ink:#171b24;--muted:#5d6675;--line:#e2e5eb;--track:#e6e9ef;--lane:#f1f3f7;"
    "--bad:#b3200f;--focus:#2463d6;--tip:#171b24;--tipink:#f4f5f8"
)
_DARK = (
    "--page:#0e1116;--card:#171b23;--ink:#e7eaf0;--muted:#99a2b2;--line:#2a303b;--track:#2a303c;--lane:#1f242e;"
    "--bad:#ff7a66;--focus:#8fb4ff;--tip:#e7eaf0;--tipink:#171b24"
)


def asset(name: str) -> str:
    """A packaged file's text."""
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


@cache
def chart_style() -> str:
    """Everything charts need, under the class ``sl``.

    The scheme follows the reader's preference; ``data-theme`` on the root and JupyterLab's and VS Code's own marks win.
    """
    light, dark = f"{_LIGHT};{css_variables(False)}", f"{_DARK};{css_variables(True)}"
    hosts = (":root[data-theme=dark] .sl", "body[data-jp-theme-light=false] .sl", "body.vscode-dark .sl")
    bright = (":root[data-theme=light] .sl", "body[data-jp-theme-light=true] .sl", "body.vscode-light .sl")
    schemes = f".sl{{{light}}}@media (prefers-color-scheme:dark){{.sl{{{dark}}}}}"
    schemes += f"{','.join(hosts)}{{{dark}}}{','.join(bright)}{{{light}}}"
    return schemes + asset("theme.css") + _fills()


@cache
def plain_style() -> str:
    """The same in light colours and without variables: for pictures that drawing programs open."""
    values = dict(pair.split(":", 1) for pair in f"{_LIGHT};{css_variables(False)}".split(";"))
    return re.sub(r"var\((--[\w-]+)\)", lambda m: values[m[1]], asset("theme.css") + _fills())


def _fills() -> str:
    rules = []
    for key in FAMILIES:
        rules.append(f".sl .b-{key}{{fill:var(--b-{key});background-color:var(--b-{key})}}")
        rules.append(f".sl text.i-{key}{{fill:var(--i-{key})}}.sl .c-{key}{{--c:var(--b-{key})}}")
    for name in MEMORY_CLASSES:
        rules.append(f".sl .m-{name}{{fill:var(--m-{name});background-color:var(--m-{name})}}")
        rules.append(f".sl text.mi-{name}{{fill:var(--mi-{name})}}")
    return "".join(rules)
