"""Fitting what physics leaves of training steps: factors of kernel classes, by ridge regression on logarithms.

A step's seconds answer to a class's factor by the class's share of what shows: d log t / d log f = share, taken by asking the
engine again with the class 5 % slower (so overlap, bubbles and contention answer as the engine has them). With shares in hand

    log(measured) − log(predicted) ≈ Σ shares · logs of the entries a kernel's key matches

is linear, every entry shrunk towards zero by a prior of its own width; the engine is asked anew with the result, until nothing
moves. What a row leaves open (recomputation, micro-batch) makes it shorter or longer. The rule's choice is more often right than
any other, so that residuals inside a quarter of that range (:data:`ROOM`) count as none, and not those inside all of it.
Groups (model, GPU) count by the root of their rows, so that no table's length decides; residuals beyond twice the usual
size count less (Huber), so that one release's regression does not bend the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...costs.training import CLASSES, Entry, TrainingFit, instead
from ...engine.programs.chain import Link, as_one, run_chain
from ...engine.questions.resolve import planned, resolve
from ...engine.steps.phase import total
from ...frontends.source import load_graph
from ...scenario.scenario import Scenario

Key = tuple[tuple[str, str], ...]
STEP = 0.05  # logarithm of the factor that derivatives are taken with
PASSES = {"product": True, "experts": True, "attention": True, "bmm": True}
HUBER = 0.08
ROOM = 0.25  # of the range of open choices; with groups left out points err less than with none or all of it


@dataclass(frozen=True, slots=True)
class Template:
    """Entries of one sort: the key's fields they name, and the width of their prior.

    Attributes:
        fields: of ``pass``, ``stack``, ``release``, ``architecture``, ``device``, ``format``, beside the class.
        width: standard deviation of the logarithm before any row is seen.
        classes: whose entries these are.
    """

    fields: tuple[str, ...]
    width: float
    classes: tuple[str, ...] = CLASSES


MATMUL = ("product", "experts", "bmm")
COMPUTE = ("product", "experts", "attention", "stream")
TEMPLATES = (
    Template((), 0.3, tuple(c for c in CLASSES if c not in ("attention", "scan"))),
    Template((), 0.1, ("attention",)),
    Template((), 0.6, ("scan",)),  # no table has one: as far off as kernels written in Triton may be
    Template(("pass",), 0.15, ("attention", "experts")),
    Template(("architecture",), 0.15),
    Template(("stack",), 0.4, ("attention", "launch")),
    Template(("stack",), 0.2, tuple(c for c in CLASSES if c not in ("attention", "launch"))),
    Template(("stack", "architecture"), 0.2, ("attention",)),
    Template(("stack", "architecture"), 0.1, tuple(c for c in CLASSES if c != "attention")),
    Template(("format",), 0.1, MATMUL),
    Template(("format", "architecture"), 0.1, MATMUL),
    Template(("release",), 0.2, ("experts", "stream", "message_ep")),
    Template(("device",), 0.1, COMPUTE),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One row as the fit sees it.

    Attributes:
        target: log of the measured seconds.
        said: log of the predicted seconds.
        shares: (class, pass) → share of the seconds.
        slack: logs of how much shorter and longer what the row leaves open may make it: (≤ 0, ≥ 0).
        floor: log of the limit, below which nothing is predicted.
        key: ``stack``, ``release``, ``architecture``, ``device``, ``format`` of its kernels.
        group: what is left out together.
    """

    target: float
    said: float
    shares: Mapping[tuple[str, str], float]
    key: Mapping[str, str]
    group: str
    slack: tuple[float, float] = (0.0, 0.0)
    floor: float = -math.inf


def parts() -> tuple[tuple[str, str], ...]:
    """Every (class, pass) a step is asked about; passes apart where kernels differ."""
    made: list[tuple[str, str]] = []
    for name in CLASSES:
        made += [(name, "forward"), (name, "backward")] if PASSES.get(name) else [(name, "")]
    return tuple(made)


def shares_of(scenario: Scenario, fit: TrainingFit) -> tuple[float, dict[tuple[str, str], float]]:
    """(log seconds, share of each class and pass): the engine is asked once, with every class a little slower in turn."""
    asked = parts()
    probes = []
    for number, (name, which) in enumerate(asked, start=1):
        where: Key = (("class", name),) if not which else (("class", name), ("pass", which))
        log = np.zeros(len(asked) + 1)
        log[number] = STEP
        probes.append(Entry(where, log))
    with instead(TrainingFit(fit.header, (*fit.entries, *probes))):
        seconds = np.log(np.broadcast_to(seconds_of_step(scenario), len(asked) + 1))
    shares = (seconds[1:] - seconds[0]) / STEP
    return float(seconds[0]), {part: float(s) for part, s in zip(asked, shares, strict=True) if s > 1e-4}


def seconds_of_step(scenario: Scenario) -> Any:
    """Seconds of a training step, an array where factors are."""
    resolved = resolve(scenario)
    links = [Link(stage, *planned(stage)) for stage in resolved.chain]
    return total(as_one(links, run_chain(links)), "time")


def columns_of(
    steps: Sequence[Step], templates: Sequence[Template] = TEMPLATES
) -> tuple[list[Key], np.ndarray, np.ndarray]:
    """(entries, their prior widths, matrix steps × entries of shares)."""
    index: dict[Key, int] = {}
    widths: list[float] = []
    cells: list[tuple[int, int, float]] = []
    for i, step in enumerate(steps):
        for (name, which), share in step.shares.items():
            for template in templates:
                if name not in template.classes:
                    continue
                key = {**step.key, "pass": which}
                if any(not key.get(f) for f in template.fields):
                    continue
                where: Key = tuple(sorted((("class", name), *((f, key[f]) for f in template.fields))))
                if where not in index:
                    index[where] = len(widths)
                    widths.append(template.width)
                cells.append((i, index[where], share))
    matrix = np.zeros((len(steps), len(widths)))
    for i, j, share in cells:
        matrix[i, j] += share
    return list(index), np.array(widths), matrix


def solve(
    matrix: np.ndarray, widths: np.ndarray, wanted: np.ndarray, weight: np.ndarray, slack: np.ndarray | None = None,
    noise: float = 0.06,
) -> np.ndarray:  # fmt: skip
    """Entries' logs that make matrix · x near ``wanted``: ridge with Huber's weights, iterated.

    Args:
        weight: of each row.
        slack: (rows, 2) of residuals that count as none; rows within theirs pull at nothing.
        noise: standard deviation of a row's own error, which sets how far priors give way.
    """
    x = np.zeros(widths.size)
    scaled = matrix * widths
    loose = np.zeros((wanted.size, 2)) if slack is None else slack
    for _ in range(40):
        off = wanted - matrix @ x
        free = np.clip(off, loose[:, 0], loose[:, 1])
        robust = np.minimum(1.0, HUBER / np.maximum(np.abs(off - free), 1e-9))
        w = weight * robust / noise**2
        normal = scaled.T @ (scaled * w[:, None]) + np.eye(widths.size)
        new = widths * np.linalg.solve(normal, scaled.T @ (w * (wanted - free)))
        if np.max(np.abs(new - x), initial=0.0) < 1e-4:
            return new
        x = new
    return x


def weights_of(groups: Sequence[str]) -> np.ndarray:
    """A group's rows together count as the root of how many they are."""
    _, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / np.sqrt(counts[inverse]))


def experts_in(model: str) -> bool:
    """Whether a model has experts."""
    images = not model.startswith("{") and model.startswith("resnet")
    return any(op.kind == "moe" for _, op in load_graph(model, (), None if images else "bf16").ops())


def solved(steps: Sequence[Step], fit: TrainingFit) -> tuple[Entry, ...]:
    """Entries fitted to steps that were priced with ``fit``: one step of Gauss–Newton from it."""
    keys, widths, matrix = columns_of(steps)
    wanted = np.array([s.target - s.said for s in steps]) + matrix @ logs_of(keys, fit)
    slack = ROOM * np.array([s.slack for s in steps])
    found = solve(matrix, widths, wanted, weights_of([s.group for s in steps]), slack)
    return tuple(Entry(key, float(x)) for key, x in zip(keys, found, strict=True) if abs(x) > LEAST)


LEAST = 1e-3  # entries nearer to nothing are left out


def logs_of(keys: Sequence[Key], fit: TrainingFit) -> np.ndarray:
    """What a fit says of each entry."""
    known = {e.where: float(e.log) for e in fit.entries}
    return np.array([known.get(key, 0.0) for key in keys])


def left_out(steps: Sequence[Step], labels: Sequence[str], fit: TrainingFit) -> np.ndarray:
    """log(measured / predicted) of every step by fits without the steps of its label."""
    keys, widths, matrix = columns_of(steps)
    wanted = np.array([s.target - s.said for s in steps]) + matrix @ logs_of(keys, fit)
    groups = np.array([s.group for s in steps])
    slack = ROOM * np.array([s.slack for s in steps])
    label = np.asarray(labels)
    error = np.empty(label.size)
    for value in np.unique(label):
        mine, rest = label == value, label != value
        if not rest.any():
            error[mine] = np.nan
            continue
        x = solve(matrix[rest], widths, wanted[rest], weights_of(groups[rest]), slack[rest])
        error[mine] = wanted[mine] - matrix[mine] @ x
    return np.minimum(error, [s.target - s.floor for s in steps])


def ends_of(error: np.ndarray, groups: Sequence[str]) -> tuple[float, float]:
    """Ends between which 80 % of a further group's errors fall: quantiles where every group counts alike, taken a little further out
    the fewer groups there are (split conformal prediction: 90 % of n + 1 groups, of the n there are)."""
    _, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weight = 1.0 / counts[inverse]
    order = np.argsort(error)
    passed = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    level = min(0.9 * (counts.size + 1) / counts.size, 1.0)
    low, high = np.interp([1.0 - level, level], passed, error[order])
    return min(float(low), 0.0), max(float(high), 0.0)


def beyond(error: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """The part of errors that open choices do not explain: what an interval around all choices has to reach further."""
    slack = np.array([s.slack for s in steps])
    return np.asarray(error - np.clip(error, slack[:, 0], slack[:, 1]))


def outside(error: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """Errors as rows are scored: of one whose open choices spread its time by more than a fifth, the part outside that range."""
    slack = np.array([s.slack for s in steps])
    wide = np.expm1(slack[:, 1] - slack[:, 0]) > WIDE
    return np.where(wide, beyond(error, steps), error)


WIDE = 0.2
