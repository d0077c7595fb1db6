"""Predictions of deployments: rows → features → latencies with intervals and limits, by given bends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...engine.serving.serving_fit import Bends, labels_of
from .columns import METRICS
from .features import Features, features, grids, resolved_for
from .model import Design, design, latencies
from .rows import Deployment

# What a row without counts may have had, as (prefill workers, decode workers, tokens drafted a step): an interval spans them.
# Drafting asks for trained heads; models without them decode as usual under every hypothesis.
HYPOTHESES = ((1, 1, 0), (1, 2, 0), (2, 1, 0), (1, 4, 0), (4, 1, 0), (2, 4, 0), (1, 1, 3), (1, 4, 3), (4, 1, 3))
FILLED = 32768  # prompt tokens of the first wave that fill several of the largest steps
NOTHING = {
    "engine": "",
    "architecture": "",
    "client": "",
    "campaign": "",
    "burst": "",
    "experts": "",
    "format": "",
    "attention": "",
    "kind": "",
}


@dataclass(frozen=True)
class Said:
    """What is known of every row before anything is fitted.

    Attributes:
        questions: the rows.
        features: of each, for rows without worker counts under each hypothesis.
        design: which bends apply.
        kinds: ``agg``, ``disagg`` (worker counts known), ``open`` (not known) or nothing.
    """

    questions: tuple[Deployment, ...]
    features: tuple[Features, ...]
    design: Design
    kinds: np.ndarray


def said_of(questions: Sequence[Deployment]) -> Said:
    """Features under every hypothesis that matters."""
    kinds = np.array([kind_of(q) for q in questions], dtype=object)
    known = grids(questions)
    first = features(questions, known=known)
    others = []
    for each in HYPOTHESES[1:]:
        unknown = [q if k == "open" else Deployment("") for q, k in zip(questions, kinds, strict=True)]
        found = features(unknown, each, known)
        here = kinds == "open"
        others.append(
            Features(
                np.where(here[:, None, None, None], found.weights, first.weights),
                np.where(here[:, None], found.least, first.least), np.where(here, found.found, first.found),
            )
        )  # fmt: skip
    return Said(tuple(questions), (first, *others), design([labels(q) for q in questions]), kinds)


def kind_of(question: Deployment) -> str:
    if not question.pools:
        return ""
    if len(question.pools) == 1:
        return "agg"
    return "open" if any(pool.workers is None for pool in question.pools) else "disagg"


def labels(question: Deployment) -> dict[str, str]:
    """What the bends tell a row by."""
    if not question.pools:
        return NOTHING
    resolved = resolved_for(question.model, question.machine, question.engine)
    told = labels_of(resolved.graph, resolved.machine, question.engine)
    campaign = "/".join(question.campaign) if len(question.pools) == 1 else ""  # too few rows each
    filled = question.clients * question.isl >= FILLED
    return {
        **told, "client": "split" if len(question.pools) > 1 else question.client, "campaign": campaign, "burst": "filled" if filled else "short",
    }  # fmt: skip


def points(said: Said, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, 2) seconds: the answer, and the least and largest over the hypotheses of rows without worker counts."""
    every = np.stack(
        [np.stack([f.ttft, f.tpot], 1) for f in (latencies(said.design, theta, g.weights) for g in said.features)]
    )
    with np.errstate(all="ignore"):
        middle = np.exp(0.5 * (np.log(every.min(0)) + np.log(every.max(0))))
    point = np.where((said.kinds == "open")[:, None], middle, every[0])
    return point, every.min(0), every.max(0)


def factors(kinds: np.ndarray, centres: Mapping[str, float]) -> np.ndarray:
    """(rows, 2) factors to the answer with the least expected relative error; 1 for kinds without a centre."""
    return np.exp([[centres.get(f"{kind}/{metric}", 0.0) for metric in METRICS] for kind in kinds]).reshape(-1, 2)


def ends_of(kind: str, metric: str, bends: Bends) -> tuple[float, float]:
    """Logs of the factors to the ends of the 80 % interval."""
    low, high = bends.ends.get(f"{kind}/{metric}", (-1.0, 1.0))
    return min(low, 0.0), max(high, 0.0)
