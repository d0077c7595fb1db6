"""Results of ``vllm bench serve --save-result`` (and of tools that write the same keys): what clients saw of a server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadFile
from ..._foundation.files import parse_json_bytes

WANTED = "a result of `vllm bench serve --save-result`"
MAX_BYTES = 512 * 2**20
_KEYS = ("duration", "completed", "mean_ttft_ms", "mean_tpot_ms")


@dataclass(frozen=True, slots=True)
class Served:
    """A benchmark of a server; seconds, tokens.

    Attributes:
        model: what the client asked for.
        requests: completed; duration: of the whole benchmark.
        inputs, outputs: mean tokens of a prompt and of an answer.
        rate: requests a second the client sent; infinite where it sent them all at once.
        in_flight: requests in the system on average, by Little's law.
        ttft, tpot, itl: mean, median and 99th percentile; NaN where not stated.
    """

    model: str
    requests: int
    duration: float
    inputs: float
    outputs: float
    rate: float
    in_flight: float
    ttft: tuple[float, float, float]
    tpot: tuple[float, float, float]
    itl: tuple[float, float, float]


def is_served(path: Path) -> bool:
    """Whether the start of a file looks like such a result."""
    with path.open("rb") as stream:
        head = stream.read(65536)
    return (
        head.lstrip()[:1] == b"{"
        and b'"traceEvents"' not in head
        and any(k.encode() in head for k in ("_ttft_ms", "request_throughput", "max_concurrency"))
    )


def read_served(path: Path) -> Served:
    """The result of a file.

    Raises:
        BadFile: for what is none, lacks a figure, or holds one that makes no sense.
    """
    if path.stat().st_size > MAX_BYTES:
        raise BadFile(f"{path} has {path.stat().st_size} bytes", expected=f"at most {MAX_BYTES}")
    data = parse_json_bytes(path.read_bytes(), str(path))
    if not isinstance(data, dict) or not all(k in data for k in _KEYS):
        raise BadFile(
            f"{path} lacks {', '.join(k for k in _KEYS if not isinstance(data, dict) or k not in data)}",
            expected=WANTED,
        )
    requests = int(_figure(data, "completed", path, least=1))
    duration = _figure(data, "duration", path)
    if not duration:
        raise BadFile(f"{path}: the benchmark took no time", expected=WANTED)
    inputs = _figure(data, "total_input_tokens", path) / requests
    outputs = _figure(data, "total_output_tokens", path) / requests
    ttft, tpot, itl = (_three(data, name, path) for name in ("ttft", "tpot", "itl"))
    stay = ttft[0] + max(outputs - 1, 0) * tpot[0]
    rate = data.get("request_rate", math.inf)
    rate = float(rate) if isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate > 0 else math.inf
    return Served(
        str(data.get("model_id", ""))[:200], requests, duration, inputs, outputs, rate, requests * stay / duration, ttft,
        tpot, itl,
    )  # fmt: skip


def _three(data: Mapping[str, Any], name: str, path: Path) -> tuple[float, float, float]:
    mean, median, last = (
        _figure(data, f"{kind}_{name}_ms", path) / 1e3 if f"{kind}_{name}_ms" in data else math.nan
        for kind in ("mean", "median", "p99")
    )
    return mean, median, last


def _figure(data: Mapping[str, Any], key: str, path: Path, least: float = 0.0) -> float:
    value = data.get(key)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not least <= value < 1e15
    ):
        raise BadFile(f"{path}: {key} is {str(value)[:40]}", expected=f"a number of at least {least:g}")
    return float(value)
