"""The one place for prefixes: SI inside, people's units outside.

Decimal prefixes (k = 1e3, M, G, T, P, E) and binary ones (Ki = 2**10, Mi, Gi, Ti) never mix:
bytes of memory print as GiB, rates and FLOPs with decimal prefixes.
"""

from __future__ import annotations

import math
import re

from .errors import BadInput

DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
SMALL = {"m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9}

GIB = 2.0**30

_NUMBER = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-zµ/%]*)\s*$")


def parse_quantity(text: str | float | int, unit: str) -> float:
    """Read ``"80GB"``, ``"4.5 ms"``, ``"3.35TB/s"`` or a bare number as SI.

    Args:
        text: what came. A bare number is taken to be in SI already.
        unit: the expected unit, e.g. ``"B"``, ``"s"``, ``"B/s"``, ``"W"``.

    Raises:
        BadInput: if it is not a finite number with an optional prefix of that unit.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        value, suffix = float(text), ""
    else:
        match = _NUMBER.match(str(text))
        if not match:
            raise BadInput(f"{text!r} is not a quantity", expected=f"a number in {unit}, like 80G{unit}")
        value, suffix = float(match[1]), match[2]
    if suffix.endswith(unit) and unit:
        suffix = suffix[: len(suffix) - len(unit)]
    for table in (DECIMAL, BINARY, SMALL):
        if suffix in table:
            value *= table[suffix]
            break
    else:
        raise BadInput(f"{text!r} has an unknown unit", expected=f"a number in {unit}, like 80G{unit}")
    if not math.isfinite(value):
        raise BadInput(f"{text!r} is not finite", expected=f"a finite number in {unit}")
    return value


def _scaled(value: float, steps: list[tuple[float, str]], digits: int) -> str:
    if value == 0:
        return f"0 {steps[-1][1]}".strip()
    for factor, name in steps:
        if abs(value) >= factor * 0.9995:
            return f"{_significant(value / factor, digits)} {name}".strip()
    factor, name = steps[-1]
    return f"{_significant(value / factor, digits)} {name}".strip()


def _significant(value: float, digits: int) -> str:
    """``digits`` significant figures without an exponent for the sizes that prefixes leave over."""
    if value == 0:
        return "0"
    whole = max(0, math.floor(math.log10(abs(value))) + 1) if abs(value) >= 1 else 1
    return f"{value:,.{max(0, digits - whole)}f}"


def format_time(seconds: float | None, digits: int = 3) -> str:
    """Seconds as s, ms, µs or ns."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    return _scaled(seconds, [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")], digits)


def format_bytes(size: float | None, digits: int = 3) -> str:
    """Bytes of memory in binary units (GiB = 2**30)."""
    if size is None or not math.isfinite(size):
        return "–"
    steps = [(2.0**50, "PiB"), (2.0**40, "TiB"), (GIB, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")]
    return _scaled(size, steps, digits)


def format_si(value: float | None, unit: str, digits: int = 3) -> str:
    """A value with a decimal prefix: ``format_si(3.35e12, "B/s") == "3.35 TB/s"``."""
    if value is None or not math.isfinite(value):
        return "–"
    steps = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")]
    return _scaled(value, [(factor, prefix + unit) for factor, prefix in steps], digits)


def format_percent(ratio: float | None, digits: int = 1) -> str:
    """A ratio 0–1 as percent; a gain of 1.0 is 100 %."""
    if ratio is None or not math.isfinite(ratio):
        return "–"
    return f"{100 * ratio:.{digits}f} %"
