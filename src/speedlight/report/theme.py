"""One colour per cause, the same in terminals, pages and notebooks.

Colour always means *what binds the time*; kinds and modules are told apart by their labels. The hues keep apart under the
common colour-vision deficiencies by lightness as well (nearest pair about 7 in 100·OKLab, protanopia), and no renderer
shows a colour without its name.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.answers.bounds import bound_label

__all__ = [
    "FAMILIES", "GRADE_SYMBOLS", "MEMORY_CLASSES", "Family", "bound_label", "css_variables", "family", "ink_on",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """Bounds that look alike.

    Attributes:
        key: CSS name.
        label: words for legends.
        light, dark, term: fill on light pages, on dark pages, and in terminals (readable on both).
    """

    key: str
    label: str
    light: str
    dark: str
    term: str


FAMILIES: dict[str, Family] = {
    f.key: f
    for f in (
        Family("matrix", "matrix units", "#2463d6", "#4f86f7", "#3f76e8"),
        Family("vector", "vector units", "#6cc3f5", "#8fdcff", "#3aa5de"),
        Family("cache", "cache", "#00695c", "#12907e", "#12907e"),
        Family("memory", "memory bandwidth", "#ea8c00", "#f7a11b", "#d98200"),
        Family("slow", "host memory, disk", "#4f3300", "#8f6a2c", "#8a6220"),
        Family("link", "links", "#b95cb0", "#dd86d4", "#c067b7"),
        Family("launch", "launches, host", "#b3200f", "#f2553f", "#d8402c"),
        Family("latency", "latency floor", "#98a1b0", "#aab2c0", "#8b93a3"),
        Family("waste", "waste, bubbles", "#e6d22e", "#f2e65c", "#b3a200"),
        Family("other", "other", "#5d6675", "#7f8899", "#777f8d"),
    )
}

_FAMILY_OF = {
    "matmul": "matrix", "vector": "vector", "sram": "cache", "cache": "cache", "hbm": "memory", "host_dram": "slow",
    "disk": "slow", "launch": "launch", "host": "launch", "latency": "latency", "tile_waste": "waste", "bubble": "waste",
}  # fmt: skip
_FAMILY_OF_PREFIX = {"unit": "vector", "link": "link"}

# Shades of one hue, strongest for what cannot be moved away; reserve is hatched and free space stays empty.
MEMORY_CLASSES: dict[str, tuple[str, str]] = {
    "weights": ("#3b3f8f", "#7a80e0"),
    "kv": ("#0d7d8c", "#35b8c9"),
    "activations": ("#7d5fc4", "#a98df0"),
    "gradients": ("#5f8f2f", "#94c95a"),
    "optimizer": ("#a8741a", "#d9a648"),
    "cache": ("#8b4a6b", "#c9799f"),
    "workspace": ("#64748b", "#94a3b8"),
    "reserve": ("#a3acba", "#5b6474"),
}

GRADE_SYMBOLS = {
    "measured": "●", "datasheet": "◆", "published": "◇", "derived": "=", "fitted": "~", "assumed": "?",
}  # fmt: skip


def family(bound: str) -> Family:
    """The look of a bound of CONTRACT's vocabulary; unknown ones look like ``other``."""
    head = bound.split(":", 1)[0]
    key = _FAMILY_OF.get(bound) or (_FAMILY_OF_PREFIX.get(head) if ":" in bound else None) or "other"
    return FAMILIES[key]


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on a fill."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 else "#10141c"


def css_variables(dark: bool) -> str:
    """Colour variables for one scheme: ``--b-…`` fills and ``--i-…`` inks of bounds, ``--m-…`` of memory classes."""
    parts = []
    for key, look in FAMILIES.items():
        fill = look.dark if dark else look.light
        parts.append(f"--b-{key}:{fill};--i-{key}:{ink_on(fill)}")
    for name, colours in MEMORY_CLASSES.items():
        fill = colours[1 if dark else 0]
        parts.append(f"--m-{name}:{fill};--mi-{name}:{ink_on(fill)}")
    return ";".join(parts)
