"""Would it help me? Every technique on one question, ranked by the gain the engine derives there.

Each technique is one prediction over a small sweep: the question itself, then a grid of batches and one of contexts, from
which it is read where the technique starts or stops to pay.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.arrays import map_arrays, shape_of
from .._foundation.errors import BadInput, SpeedlightError
from ..engine.answers.prediction import Prediction, plain
from ..engine.predict import predict
from ..scenario.scenario import Scenario
from ..scenario.scenario import Technique as Use
from .compose import Refused, Set, parsed, predicted, settled
from .gains import Gain, Turn, gain, turns
from .technique import Technique, catalogue

BATCHES = 2.0 ** np.arange(0, 11)
CONTEXTS = 2.0 ** np.arange(9, 18)
SAME = 0.005  # gains below half a percent count as none

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a technique, or several, would do.

    Attributes:
        names: labels of the techniques.
        gain: None where it does not apply, or the answer could not be given.
        after: its prediction.
        refusal: why not, and the nearest alternative.
        turns: where it starts or stops to pay along batch and context.
    """

    names: tuple[str, ...]
    techniques: tuple[Technique, ...]
    gain: Gain | None = None
    after: Prediction | None = None
    fits: bool = True
    refusal: tuple[str, str] | None = None
    turns: tuple[Turn, ...] = ()

    @property
    def score(self) -> float:
        """What it is ranked by: its speed-up; what does not fit comes after what does."""
        if self.gain is None:
            return -math.inf
        return math.log(float(self.gain.speedup)) - (0.0 if self.fits else 1e3)

    def to_dict(self) -> dict[str, Any]:
        g, a = self.gain, self.after
        return plain({  # type: ignore[no-any-return]
            "techniques": list(self.names),
            "families": [t.family for t in self.techniques],
            "gain": None if g is None else float(g.speedup) - 1, "low": None if g is None else float(g.low) - 1,
            "high": None if g is None else float(g.high) - 1, "latency_gain": None if g is None else float(g.latency) - 1,
            "memory_gain": None if g is None else float(g.memory) - 1,
            "time": None if a is None else a.time, "limit": None if a is None else a.limit,
            "memory": None if a is None else a.memory.total, "bound": None if a is None else a.bound, "fits": self.fits,
            "energy": None, "cost": None,
            "turns": [{"along": t.along, "at": t.at, "pays_beyond": t.pays} for t in self.turns],
            "exact": all(t.exact for t in self.techniques),
            "quality": [{"what": q.what, "value": q.value, "source": q.source} for t in self.techniques for q in t.quality],
            "mechanism": [t.mechanism for t in self.techniques],
            "papers": [p for t in self.techniques for p in t.papers],
            "why_not": None if self.refusal is None else {"reason": self.refusal[0], "instead": self.refusal[1]},
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ranking:
    """The question's own answer, and what each technique makes of it, best first; then those that do not apply."""

    before: Prediction
    singles: tuple[Outcome, ...]
    refused: tuple[Outcome, ...]
    together: tuple[Outcome, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "baseline": self.before.to_dict(ops=False),
            "techniques": [o.to_dict() for o in self.singles],
            "combinations": [o.to_dict() for o in self.together],
            "not_applicable": [o.to_dict() for o in self.refused],
        }


def whatif(
    scenario: Scenario,
    *,
    names: Sequence[str] = (),
    families: Sequence[str] = (),
    sizes: int = 1,
    best: int = 12,
    settings: bool = False,
    progress: Progress = lambda done, of: None,
) -> Ranking:
    """Every technique (or those named) on a question.

    Args:
        scenario: the question; techniques it names itself are part of the baseline.
        names: labels (``name:k=v``) to try; all where empty.
        families: only these.
        sizes: 2 adds the best pairs, 3 triples too.
        best: so many of the best singles are combined.
        settings: also try the values that parameters want tried, and keep each technique's best; by default a technique is taken
            as its source has it, since what is fastest is mostly what costs most quality.
        progress: told (done, of all) now and then.

    Raises:
        BadInput: for a sweep, and for an unknown family. UnknownName: an unknown technique.
    """
    if shape_of(scenario):
        raise BadInput("whatif is asked about a sweep", expected="one question")
    known = catalogue()
    base_sets = settled(scenario.techniques)
    wanted = [parsed(label) for label in names] or [Use(n) for n, t in known.items() if t.whatif]
    wanted = [u for u in wanted if not families or known[u.name].family in families]
    trials = [
        one for use in wanted if use.name not in {s.technique.name for s in base_sets} for one in _trials(use, settings)
    ]
    grid = Grid(scenario)
    before = grid.base(base_sets)
    found: list[Outcome] = []
    for index, one in enumerate(trials):
        found.append(grid.outcome(base_sets, (one,), before))
        progress(index + 1, len(trials))
    found = _best_settings(found)
    ranked = sorted((o for o in found if o.gain is not None), key=_order)
    refused = sorted((o for o in found if o.gain is None), key=lambda o: o.names)
    together: list[Outcome] = []
    if sizes > 1:
        by_label = {one.label: one for one in trials}
        useful = [by_label[o.names[0]] for o in ranked if o.score > SAME or _frees(o)][:best]
        combined = [c for n in range(2, sizes + 1) for c in itertools.combinations(useful, n)]
        for index, sets in enumerate(combined):
            outcome = grid.outcome(base_sets, sets, before)
            if outcome.gain is not None:
                together.append(outcome)
            progress(index + 1, len(combined))
        together.sort(key=_order)
    return Ranking(grid.asked(before), tuple(ranked), tuple(refused), tuple(together))


def _frees(outcome: Outcome) -> bool:
    return outcome.gain is not None and float(outcome.gain.memory) > 1.05


def _order(outcome: Outcome) -> tuple[float, tuple[str, ...]]:
    return -round(outcome.score, 9), outcome.names


def _trials(use: Use, settings: bool) -> Iterable[Set]:
    """The technique as named, and with each value its parameters want tried."""
    (one,) = settled((use,))
    yield one
    if not settings:
        return
    stated = {key for key, _ in use.parameters}
    for p in one.technique.parameters:
        for value in p.trials if p.name not in stated else ():
            yield Set(one.technique, {**one.settings, p.name: p.parsed(value, use.name)})


def _best_settings(found: Sequence[Outcome]) -> list[Outcome]:
    """Of each technique its best setting."""
    best: dict[str, Outcome] = {}
    for outcome in found:
        name = outcome.techniques[0].name
        if name not in best or outcome.score > best[name].score:
            best[name] = outcome
    return list(best.values())


class Grid:
    """A question with its batches and contexts beside it, answered once per set of techniques."""

    def __init__(self, scenario: Scenario) -> None:
        self.alone = dataclasses.replace(scenario, techniques=())
        w = scenario.program.workload
        batches = BATCHES if _batched(scenario) else BATCHES[:0]
        contexts = CONTEXTS if w.phase in ("decode", "generate", "prefill") and not w.groups else CONTEXTS[:0]
        self.batches = slice(1, 1 + batches.size)
        self.contexts = slice(1 + batches.size, 1 + batches.size + contexts.size)
        length = "context" if w.phase == "decode" else "isl"
        self.axes = (
            ("batch", self.batches, batches),
            ("context" if length == "context" else "prompt", self.contexts, contexts),
        )
        if not batches.size + contexts.size:
            self.swept = self.alone
            return
        asked = float(getattr(w, length))
        batch = np.concatenate([[float(w.batch)], batches, np.full(contexts.size, float(w.batch))])
        lengths = np.concatenate([[asked], np.full(batches.size, asked), contexts])
        changes = {"batch": batch} | ({length: lengths} if contexts.size else {})
        self.swept = self.alone.with_workload(**changes)

    def base(self, sets: Sequence[Set]) -> Prediction:
        return predicted(self.swept, sets, joint=True)

    def asked(self, swept: Prediction) -> Prediction:
        """The answer to the question itself."""
        return predict(_pick(swept.scenario, 0), details=False)

    def outcome(self, base: Sequence[Set], sets: Sequence[Set], before: Prediction) -> Outcome:
        labels, techniques = tuple(s.label for s in sets), tuple(s.technique for s in sets)
        try:
            together = settled([s.use for s in (*base, *sets)])
            after = predicted(self.swept, together, joint=True)
        except Refused as error:
            return Outcome(labels, techniques, refusal=(error.message.partition(": ")[2] or error.message, error.hint))
        except SpeedlightError as error:
            return Outcome(labels, techniques, refusal=(error.message, error.hint or error.expected))
        whole = gain(before, after)
        at = Gain(*(_first(getattr(whole, f.name)) for f in dataclasses.fields(Gain)))
        speed = np.broadcast_to(whole.speedup, shape_of(self.swept) or ())
        found = tuple(t for along, where, sizes in self.axes if sizes.size for t in turns(along, sizes, speed[where]))
        return Outcome(labels, techniques, at, _at_first(after), bool(_first(after.fits)), turns=found)


def _batched(scenario: Scenario) -> bool:
    w = scenario.program.workload
    return not w.groups and len(scenario.programs) == 1 and w.phase != "train" and "batch" not in w.symbols


def _first(value: Any) -> Any:
    return np.ravel(value)[0]


def _at_first(answer: Prediction) -> Prediction:
    """The sweep's first point: the question itself."""
    numbers = {name: _first(getattr(answer, name)) for name in ("time", "low", "high", "limit", "bound")}
    ledger = dataclasses.replace(
        answer.memory, by_class={k: _first(v) for k, v in answer.memory.by_class.items()}, capacity=_first(answer.memory.capacity)
    )  # fmt: skip
    return dataclasses.replace(answer, memory=ledger, joint=None, **numbers)


def _pick(scenario: Scenario, index: int) -> Scenario:
    return map_arrays(scenario, lambda array: float(np.ravel(array)[index]))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Share:
    """One technique's part of a composition.

    Attributes:
        alone: its speed-up without the others; ``last``: after all the others.
        factor: its part of the whole, order-independent: parts multiply to the whole.
    """

    name: str
    alone: float
    last: float
    factor: float


def attribution(scenario: Scenario, labels: Sequence[str]) -> tuple[tuple[Share, ...], Outcome, Prediction]:
    """Each technique's part of what they do together: its mean effect over all orders in which they could be added.

    The Shapley value of log(speed-up) (L. S. Shapley, 1953): parts add to the whole and do not depend on the order of naming.

    Raises:
        BadInput: for more than eight. Refused: where they cannot be applied together.
    """
    if not 1 <= len(labels) <= 8:
        raise BadInput(f"{len(labels)} techniques composed", expected="one to eight")
    base = settled(scenario.techniques)
    sets = settled([parsed(label) for label in labels])
    alone = dataclasses.replace(scenario, techniques=())
    before = predicted(alone, base, joint=True)
    values: dict[frozenset[str], float] = {frozenset(): 0.0}
    outcome: Outcome | None = None
    for size in range(1, len(sets) + 1):
        for some in itertools.combinations(sets, size):
            after = predicted(alone, settled([s.use for s in (*base, *some)]), details=size == len(sets), joint=True)
            made = gain(before, after)
            values[frozenset(s.technique.name for s in some)] = math.log(float(made.speedup))
            if size == len(sets):
                found = tuple(s.label for s in sets), tuple(s.technique for s in sets)
                outcome = Outcome(*found, made, after, bool(after.fits))
    assert outcome is not None
    return tuple(_share(one, sets, values) for one in sets), outcome, before


def _share(one: Set, sets: Sequence[Set], values: dict[frozenset[str], float]) -> Share:
    name = one.technique.name
    others = [s.technique.name for s in sets if s.technique.name != name]
    total, n = 0.0, len(sets)
    for size in range(n):
        weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
        for some in itertools.combinations(others, size):
            total += weight * (values[frozenset({*some, name})] - values[frozenset(some)])
    everything = frozenset({*others, name})
    last = values[everything] - values[frozenset(others)]
    return Share(one.label, math.exp(values[frozenset({name})]), math.exp(last), math.exp(total))


def composition_dict(shares: Sequence[Share], outcome: Outcome, before: Prediction) -> dict[str, Any]:
    """``whatif --compose`` as JSON: gains are fractions; factors multiply to 1 + gain."""
    return {
        "baseline": before.to_dict(ops=False),
        "together": outcome.to_dict(),
        "after": None if outcome.after is None else outcome.after.to_dict(ops=False),
        "shares": [{"technique": s.name, "alone": s.alone - 1, "last": s.last - 1, "factor": s.factor} for s in shares],
    }
