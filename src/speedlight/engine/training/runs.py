"""Runs, not only steps: tokens → steps → days, device-hours, dollars, with checkpoints, failures and who waits for whom.

A run of ``tokens`` takes so many steps; on a machine that never fails it would take *solve* = steps · step seconds. Failures
come as a Poisson stream whose rate is the sum over *failure domains* (a device, a node, a rack's switch, the market that takes
a preemptible node back): each has a mean time between failures of one unit, so many units, a time until it is noticed and a
time until the job runs again. Work since the last checkpoint is lost. Daly's complete model gives the wall time,

    wall = M · e^(R/M) · (e^((τ + δ)/M) − 1) · solve / τ        (FGCS 22(3), 2006, equation 20)

with M the mean time between failures of the whole job, R detection and restart, τ the work between checkpoints and δ the
seconds a checkpoint stops the job for. The best τ is his higher-order estimate, √(2δM) at first order (Young, CACM 17(9), 1974).

*Waiting*: a synchronous step ends with the slowest of n replicas; where only k of them are waited for (backup workers,
arXiv 1604.00981), the step ends with the k-th and counts k replicas' tokens.

Every number may be an array.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from ..._foundation.arrays import Value, maximum
from ..._foundation.errors import BadInput
from ..._foundation.formats import bytes_per_element
from ..._foundation.quantity import parse_quantity
from ...graph.backward.optimizer import OPTIMIZERS
from ..answers.prediction import Prediction

HOUR, DAY = 3600.0, 86400.0
# 419 unexpected interruptions in 54 days on 16,384 H100 (Llama 3, arXiv 2407.21783 section 3.3.4): 50,700 hours a device.
DEVICE_HOURS = 54 * 24 * 16384 / 419


@dataclass(frozen=True, slots=True)
class Domain:
    """What fails together.

    Attributes:
        name: ``device``, ``node``, ``rack``, ``market`` …
        between_s: mean seconds between failures of one unit.
        units: how many the job runs on.
        detect_s: from the failure to its being noticed (a collective's time-out).
        restart_s: from there until the job computes again: a replacement, start-up, the checkpoint read.
        spare: share of its failures after which the job goes on without the unit (re-balanced over the others) instead of
            waiting: then ``rebalance_s`` passes instead of ``restart_s``, and the units left work until ``repair_s``.
        rebalance_s, repair_s: see ``spare``.
    """

    name: str
    between_s: Value
    units: Value
    detect_s: Value = 0.0
    restart_s: Value = 0.0
    spare: Value = 0.0
    rebalance_s: Value = 0.0
    repair_s: Value = 0.0

    @property
    def rate(self) -> Value:
        """Failures of the job a second."""
        return self.units / self.between_s

    @property
    def stopped_s(self) -> Value:
        """Seconds nothing is computed after a failure."""
        return self.detect_s + (1 - self.spare) * self.restart_s + self.spare * self.rebalance_s

    @property
    def missing(self) -> Value:
        """Mean share of the units that are away while the job goes on without them."""
        return self.spare * self.repair_s / self.between_s


@dataclass(frozen=True, slots=True)
class Run:
    """A run's question.

    Attributes:
        tokens: to train on.
        step_s: seconds of one optimizer step; ``step_tokens`` its tokens.
        devices: in use; ``usd_per_hour`` the price of an hour of one (None: nobody said), ``price_factor`` what a preemptible
            one costs of it.
        checkpoint_bytes: of the whole job; 0 for none.
        store_bytes_per_s: at which the job's devices together write them and read them back.
        snapshot_bytes_per_s: at which they copy them to host memory where writing goes on behind the steps; None: the job
            stops until all is written.
        every_s: work between checkpoints; None for the best.
        domains: what fails; empty for nothing.
    """

    tokens: Value
    step_s: Value
    step_tokens: Value
    devices: Value
    usd_per_hour: Value | None = None
    price_factor: Value = 1.0
    checkpoint_bytes: Value = 0.0
    store_bytes_per_s: Value = math.inf
    snapshot_bytes_per_s: Value | None = None
    every_s: Value | None = None
    domains: tuple[Domain, ...] = ()


@dataclass(frozen=True, slots=True)
class RunAnswer:
    """What a run costs.

    Attributes:
        steps, solve_s: whole steps, and their seconds on a machine that never fails.
        wall_s: expected seconds with checkpoints and failures.
        goodput: solve over wall.
        device_hours, usd: paid for (None where nobody said a price).
        failures: expected number; ``between_s`` the mean seconds between them (infinite for none).
        checkpoint_s: one checkpoint stops the job for so long; ``every_s`` work lies between two.
        lost: shares of the wall time: ``checkpoints``, ``recomputed`` (work done again), ``stopped`` (detection and
            restart), ``missing`` (units away); with the goodput they sum to 1.
    """

    steps: Value
    solve_s: Value
    wall_s: Value
    goodput: Value
    device_hours: Value
    usd: Value | None
    failures: Value
    between_s: Value
    checkpoint_s: Value
    every_s: Value
    lost: dict[str, Value]

    @property
    def days(self) -> Value:
        return self.wall_s / DAY

    def to_dict(self) -> dict[str, Any]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**fields, "days": self.days}


def run(question: Run) -> RunAnswer:
    """The expected cost of a run.

    Raises:
        BadInput: for tokens, seconds, rates or shares that make no sense, naming them.
    """
    q = question
    _check(q)
    steps = np.ceil(q.tokens / q.step_tokens)
    away: Value = 0.0
    rate: Value = 0.0
    stops: Value = 0.0
    for d in q.domains:
        away = away + d.missing
        rate = rate + d.rate
        stops = stops + d.rate * d.stopped_s
    if np.any(np.asarray(away) >= 1):
        raise BadInput("repairs take longer than units live", expected="repair_s below between_s")
    plain = steps * q.step_s
    solve = plain / (1 - away)
    dump = q.checkpoint_bytes / (q.store_bytes_per_s if q.snapshot_bytes_per_s is None else q.snapshot_bytes_per_s)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.divide(1.0, rate)
        restart = np.where(np.asarray(rate) > 0, np.divide(stops, rate), 0.0)
        restart = restart + np.where(np.asarray(rate) > 0, q.checkpoint_bytes / q.store_bytes_per_s, 0.0)
        every = q.every_s if q.every_s is not None else interval(dump, between)
        if np.any(np.asarray(between) < q.step_s):
            raise BadInput(
                f"a failure every {np.min(between):.3g} s, a step takes {np.max(q.step_s):.3g} s",
                expected="steps shorter than the time between failures",
            )
        every = np.minimum(maximum(every, q.step_s), maximum(solve, q.step_s))
        wall = wall_time(solve, every, dump, between, restart)
        computing = wall_time(solve, every, dump, between, 0.0)
        written = np.where(np.isfinite(every), solve / every, 0.0) * dump
    lost = {
        "checkpoints": written / wall, "stopped": (wall - computing) / wall, "missing": (solve - plain) / wall,
        "recomputed": np.maximum(computing - solve - written, 0.0) / wall,
    }  # fmt: skip
    hours = wall * q.devices / HOUR
    answer = RunAnswer(
        steps, plain, wall, plain / wall, hours, None if q.usd_per_hour is None else hours * q.usd_per_hour * q.price_factor,
        wall / between, between, dump, every, lost,
    )  # fmt: skip
    return _scalars(answer)


def interval(dump: Value, between: Value) -> Value:
    """Work between checkpoints that makes a run shortest: Daly's higher-order estimate (equation 37), at most ``between``.

    Args:
        dump: seconds a checkpoint takes.
        between: mean seconds between failures.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.asarray(dump) / (2 * np.asarray(between))
        best = np.sqrt(2 * np.asarray(dump) * between) * (1 + np.sqrt(part) / 3 + part / 9) - dump
        return np.where(np.isfinite(between), np.where(part < 1, best, between), np.inf)


def wall_time(solve: Value, every: Value, dump: Value, between: Value, restart: Value) -> Value:
    """Expected seconds of a run whose work is ``solve``; see the module docstring."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        parts = np.asarray(solve) / every
        failing = between * np.exp(restart / between) * np.expm1((every + np.asarray(dump)) / between) * parts
        return np.where(np.isfinite(between), failing, solve + parts * dump)


def waiting(replicas: int, spread: float, wait_for: int | None = None) -> tuple[float, float]:
    """(step time over the median replica's, share of the tokens that count) of a synchronous step.

    Replicas' times are log-normal; the expected k-th of n is the quantile (k − 3/8)/(n + 1/4) (Blom, 1958).

    Args:
        replicas: n.
        spread: standard deviation of the logarithm of a replica's step time.
        wait_for: k; all of them by default.

    Raises:
        BadInput: for more or fewer replicas than there are, or a negative spread.
    """
    k = replicas if wait_for is None else wait_for
    if replicas < 1 or not 1 <= k <= replicas:
        raise BadInput(f"waiting for {k} of {replicas} replicas", expected="at least one, at most all")
    if spread < 0 or not math.isfinite(spread):
        raise BadInput(f"a spread of {spread}", expected="0 or more")
    quantile = NormalDist().inv_cdf((k - 0.375) / (replicas + 0.25))
    return math.exp(spread * quantile), k / replicas


def devices(count: Value, hours: Value = DEVICE_HOURS, detect_s: Value = 600.0, restart_s: Value = 600.0) -> Domain:
    """Single devices with what is around them, at the rate of a published run (:data:`DEVICE_HOURS`)."""
    return Domain("device", hours * HOUR, count, detect_s, restart_s)


STORE_PER_DEVICE = (
    0.2e9  # bytes a second to a parallel file system that a device's share of a node's ports can write (assumed)
)


def run_of(
    step: Prediction, tokens: Value, *, device_hours: Value | None = None, restart_s: Value | None = None,
    store: Value | str | None = None,
) -> Run:  # fmt: skip
    """The run that repeats a predicted training step until ``tokens`` are through.

    Args:
        step: a training step's answer.
        device_hours: hours between failures of one device (:data:`DEVICE_HOURS`); 0 for never.
        restart_s: seconds until the job computes again.
        store: bytes a second at which all devices write a checkpoint (``200 GB/s``).

    Raises:
        BadInput: for an answer that is no training step of tokens.
    """
    workload = step.scenario.program.workload
    if workload.phase != "train" or step.throughput.get("unit") != "tokens/s":
        raise BadInput("a run is so many training steps of tokens", expected="--phase train of a language model")
    training = workload.training
    each = (
        bytes_per_element(training.states) * len(OPTIMIZERS[training.optimizer].states)
        if training.optimizer in OPTIMIZERS
        else 0.0
    )
    kept = step.model["weight_bytes"] + step.model["params"] * (each + (4.0 if training.master == "fp32" else 0.0))
    used = step.machine["used"]
    hours = DEVICE_HOURS if device_hours is None else device_hours
    domains = (
        ()
        if np.all(np.asarray(hours) == 0)
        else (devices(used, hours, restart_s=600.0 if restart_s is None else restart_s),)
    )
    rate = (
        used * STORE_PER_DEVICE if store is None else parse_quantity(store, "B/s") if isinstance(store, str) else store
    )
    return Run(
        tokens, step.time, step.throughput["value"] * step.time, used, step.machine["usd_per_hour"], checkpoint_bytes=kept,
        store_bytes_per_s=rate, domains=domains,
    )  # fmt: skip


def _check(q: Run) -> None:
    sizes: Sequence[tuple[str, Value, bool]] = (
        ("tokens", q.tokens, True), ("step seconds", q.step_s, True), ("tokens of a step", q.step_tokens, True),
        ("devices", q.devices, True), ("checkpoint bytes", q.checkpoint_bytes, False),
        ("bytes a second of the store", q.store_bytes_per_s, True), ("price factor", q.price_factor, False),
        *((f"time between failures of a {d.name}", d.between_s, True) for d in q.domains),
        *((f"units of {d.name}", d.units, False) for d in q.domains),
        *((f"{d.name} times", np.minimum(np.minimum(d.detect_s, d.restart_s), np.minimum(d.rebalance_s, d.repair_s)), False)
          for d in q.domains),
        *(("snapshot bytes a second", v, True) for v in (q.snapshot_bytes_per_s,) if v is not None),
        *(("seconds between checkpoints", v, True) for v in (q.every_s,) if v is not None),
    )  # fmt: skip
    for name, value, positive in sizes:
        array = np.asarray(value, dtype=float)
        if np.any(np.isnan(array)) or np.any(array <= 0 if positive else array < 0):
            raise BadInput(f"{name}: {value!r}", expected="above 0" if positive else "0 or more")
    for d in q.domains:
        share = np.asarray(d.spare, dtype=float)
        if np.any(~((share >= 0) & (share <= 1))):
            raise BadInput(f"share of {d.name} failures the job goes on after: {d.spare!r}", expected="0 to 1")


def _scalars(answer: RunAnswer) -> RunAnswer:
    """NumPy's zero-dimensional results as plain floats."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return float(value) if value is not None and np.ndim(value) == 0 else value

    return RunAnswer(**{f.name: plain(getattr(answer, f.name)) for f in dataclasses.fields(answer)})
