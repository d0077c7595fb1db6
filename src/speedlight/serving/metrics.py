"""What a run amounts to, in the ecosystem's words: TTFT, TPOT, ITL, end-to-end latency, throughput, goodput.

TTFT counts from the client's send to its first token, queueing included. TPOT is (end − first token) / (output − 1), undefined
for one token. ITL is the gap between tokens of one request as they reach the client (tokens of one step come together). Means
and percentiles are over finished requests (gaps for ITL); rates are over the time from the first arrival to the last end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from .._foundation.quantity import parse_quantity
from .simulate import Run

PERCENTILES = (50, 90, 95, 99)
LATENCIES = ("ttft", "tpot", "itl", "e2el")


@dataclass(frozen=True, slots=True)
class Objective:
    """A latency bound with a statistic: ``ttft:p95<2s``."""

    metric: str
    statistic: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric}:{self.statistic}<{self.bound:g}s"


def parse_slo(text: str) -> tuple[Objective, ...]:
    """``ttft:p95<2s,tpot:p95<50ms``: metrics ttft, tpot, itl, e2el; statistics mean or p1 to p100 (p95 if left out).

    Raises:
        BadInput: anything else.
    """
    found = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.fullmatch(r"(ttft|tpot|itl|e2el)(?::(mean|p\d{1,2}(?:\.\d+)?|p100))?\s*<=?\s*(\S+)", part)
        if not match:
            raise BadInput(f"the objective {part!r}", expected="like ttft:p95<2s or tpot:mean<50ms, joined by commas")
        bound = parse_quantity(match[3], "s")
        if bound <= 0:
            raise BadInput(f"the objective {part!r}", expected="a bound above 0")
        found.append(Objective(match[1], match[2] or "p95", bound))
    if not found:
        raise BadInput("no objective", expected="like ttft:p95<2s,tpot:p95<50ms")
    return tuple(found)


@dataclass(frozen=True)
class Latencies:
    """Seconds of each finished request; of gaps a histogram."""

    ttft: np.ndarray
    tpot: np.ndarray
    e2el: np.ndarray
    gap_edges: np.ndarray
    gap_counts: np.ndarray

    def statistic(self, metric: str, statistic: str) -> float:
        """A mean or a percentile; NaN where nothing was measured."""
        if metric == "itl":
            if statistic == "mean":  # of the gaps, not of the bins
                return self.mean_gap()
            return histogram_percentile(self.gap_edges, self.gap_counts, float(statistic[1:]))
        values = getattr(self, metric)
        values = values[np.isfinite(values)]
        if not len(values):
            return float("nan")
        return float(values.mean()) if statistic == "mean" else float(np.percentile(values, float(statistic[1:])))

    def mean_gap(self) -> float:
        counts = self.gap_counts
        if not counts.sum():
            return float("nan")
        low, high = self.gap_edges[:-1], np.where(np.isinf(self.gap_edges[1:]), self.gap_edges[:-1], self.gap_edges[1:])
        return float((counts * (low + high) / 2).sum() / counts.sum())


def histogram_percentile(edges: np.ndarray, counts: np.ndarray, percent: float) -> float:
    """The value below which a share of a histogram lies, linear within its bin."""
    total = counts.sum()
    if not total:
        return float("nan")
    below = np.cumsum(counts)
    target = percent / 100 * total
    i = int(np.searchsorted(below, target, side="left"))
    i = min(i, len(counts) - 1)
    before = below[i - 1] if i else 0
    high = edges[i + 1] if np.isfinite(edges[i + 1]) else edges[i]
    return float(edges[i] + (target - before) / max(counts[i], 1) * (high - edges[i]))


def latencies(run: Run) -> Latencies:
    """Latencies as clients see them: with the host's way in and out."""
    requests, pools = run.requests, run.deployment.pools
    first, last = pools[0].tables.host, pools[-1].tables.host
    way = first.request + first.prompt_token * requests.prompt + last.stream
    done = np.isfinite(run.finished)
    output = np.where(requests.output > 1, requests.output - 1, np.nan)
    ttft = run.first - run.arrival + way
    return Latencies(
        ttft=ttft[done], tpot=((run.finished - run.first) / output)[done],
        e2el=(run.finished - run.arrival + way)[done], gap_edges=run.gap_edges, gap_counts=run.gap_counts,
    )  # fmt: skip


def summary(run: Run, objectives: tuple[Objective, ...] = ()) -> dict[str, Any]:
    """A run's metrics by name, in SI units; what nobody measured is None.

    Keys: ``ttft``, ``tpot``, ``itl``, ``e2el`` (each mean, p50, p90, p95, p99), ``request_throughput``,
    ``output_throughput``, ``total_throughput``, the last two ``_per_device``, ``output_throughput_per_user`` (1 / mean TPOT),
    ``goodput``, ``attainment``, ``objectives``, ``queue_mean``, ``running_mean``, ``kv_peak`` and counts.
    """
    found = latencies(run)
    requests = run.requests
    done = np.isfinite(run.finished)
    started = float(np.nanmin(run.arrival)) if np.any(np.isfinite(run.arrival)) else 0.0
    duration = max(run.reached - started, 1e-12)
    output, prompt = int(requests.output[done].sum()), int(requests.prompt[done].sum())
    devices = run.deployment.devices
    result: dict[str, Any] = {
        "requests": len(requests), "finished": int(done.sum()), "refused": int(run.refused.sum()), "duration": duration,
        "request_throughput": done.sum() / duration, "output_throughput": output / duration,
        "total_throughput": (output + prompt) / duration, "output_throughput_per_device": output / duration / devices,
        "total_throughput_per_device": (output + prompt) / duration / devices,
    }  # fmt: skip
    for metric in LATENCIES:
        names = ["mean", *(f"p{p}" for p in PERCENTILES)]
        result[metric] = {name: _known(found.statistic(metric, name)) for name in names}
    mean = result["tpot"]["mean"]
    result["output_throughput_per_user"] = 1 / mean if mean else None
    result |= _occupancy(run, started, duration)
    result |= run.counters
    result["steps"] = run.steps
    if objectives:
        result["objectives"] = [judged(found, o) for o in objectives]
        share = float(np.mean(meeting(found, objectives))) if len(found.ttft) else 0.0
        result["attainment"], result["goodput"] = share, share * result["request_throughput"]
        result["holds"] = all(o["holds"] for o in result["objectives"]) and result["finished"] == result["requests"]
    return result


def judged(found: Latencies, objective: Objective) -> dict[str, Any]:
    """An objective beside what was reached; with nothing measured it holds (a load of one-token answers has no TPOT)."""
    value = found.statistic(objective.metric, objective.statistic)
    return {
        "objective": str(objective), "metric": objective.metric, "statistic": objective.statistic, "value": _known(value), "bound": objective.bound,
        "holds": not value > objective.bound,
    }  # fmt: skip


def meeting(found: Latencies, objectives: tuple[Objective, ...]) -> np.ndarray:
    """Which finished requests are within every bound (gaps are no request's own and left out)."""
    good = np.ones(len(found.ttft), bool)
    for objective in objectives:
        if objective.metric != "itl":
            good &= ~(getattr(found, objective.metric) > objective.bound)
    return good


def _occupancy(run: Run, started: float, duration: float) -> dict[str, Any]:
    """Means by Little's law, exact whatever the timeline kept."""
    begun = np.where(np.isfinite(run.admitted), run.admitted, run.reached)
    ended = np.where(np.isfinite(run.finished), run.finished, run.reached)
    arrived = np.isfinite(run.arrival) & ~run.refused
    capacity = min(pool.lane_blocks for pool in run.deployment.pools)
    return {
        "queue_mean": float((begun - run.arrival)[arrived].sum() / duration),
        "running_mean": float((ended - begun)[arrived].sum() / duration),
        "kv_peak": run.most_blocks / capacity,
        "utilisation": run.busy_seconds / max(run.replica_seconds, 1e-12),
        "replicas_mean": run.replica_seconds / max(run.reached, 1e-12),
    }


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
