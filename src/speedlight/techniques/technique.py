"""What a technique is, and where techniques are filed by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .._foundation.errors import BadInput
from .._foundation.registry import Registry
from ..scenario.scenario import Scenario

if TYPE_CHECKING:
    from .subject import Subject

# Edits are made in this order, whatever order techniques were named in (DESIGN decision 9).
STAGES = ("machine", "graph", "workload", "placement", "stack", "schedule", "serving")

FAMILIES: Mapping[str, str] = {
    "kernels": "attention and fused kernels",
    "formats": "number formats and weight compression",
    "sparsity": "sparsity and pruning",
    "tokens": "token reduction, early exit, layer skipping",
    "kv": "KV cache",
    "decoding": "decoding",
    "offload": "offload and memory tiers",
    "parallel": "parallelism and communication",
    "serving": "serving",
    "training": "training memory and optimizers",
    "architecture": "architecture shape",
    "diffusion": "diffusion and video",
    "edge": "edge and split computing, input pipelines",
    "hardware": "hardware substitutions",
}

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One knob of a technique.

    Attributes:
        default: its value where nobody says; its type is the parameter's.
        means: in a few words, with the unit in ``unit``.
        choices: the only values it may take; empty for any within ``low`` … ``high``.
        trials: values that `whatif` tries beside the default.
        source: where the default comes from; empty for a convention (``assumed``).
        neutral: the value that changes nothing, where there is one (a law of the conformance kit).
    """

    name: str
    default: Any
    means: str
    unit: str = ""
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    trials: tuple[Any, ...] = ()
    source: str = ""
    neutral: Any = None

    def parsed(self, value: Any, technique: str) -> Any:
        """The value in the parameter's type.

        Raises:
            BadInput: for a value it cannot take.
        """
        kind = type(self.default)
        expected = ", ".join(map(str, self.choices)) or f"{_KINDS.get(kind, kind.__name__)}{self._range()}"
        wrong = BadInput(f"{technique}: {self.name} is {value!r}", expected=expected)
        if isinstance(value, str) and kind is not str:
            try:
                value = _SWITCH[value.lower()] if kind is bool else kind(float(value))
            except (ValueError, KeyError, OverflowError):
                raise wrong from None
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        number = kind in (int, float) and hasattr(value, "__array__")  # a sweep of it
        if not number and (not isinstance(value, kind) or (kind is not bool and isinstance(value, bool))):
            raise wrong
        if self.choices and not number and value not in self.choices:
            raise wrong
        if kind in (int, float):
            outside = (self.low is not None and not _all(value >= self.low)) or (
                self.high is not None and not _all(value <= self.high)
            )
            if outside or not _all(value == value):
                raise wrong
        return value

    def _range(self) -> str:
        if self.low is None and self.high is None:
            return ""
        if self.high is None:
            return f" of at least {self.low:g}"
        return f" up to {self.high:g}" if self.low is None else f" from {self.low:g} to {self.high:g}"


_KINDS = {int: "a whole number", float: "a number", bool: "on or off", str: "a word"}
_SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


def _all(truth: Any) -> bool:
    return bool(truth.all()) if hasattr(truth, "all") else bool(truth)


@dataclass(frozen=True, slots=True)
class Quote:
    """An effect on quality as a source states it; quoted beside the speed, never predicted (DESIGN decision 13).

    Attributes:
        what: the measure, like ``WikiText-2 perplexity, Llama-2-7B``.
        value: as stated, like ``5.47 → 5.60``.
        source: paper and table.
    """

    what: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a technique does not apply, and the nearest thing that does."""

    why: str
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a scenario.

    Attributes:
        stage: one of :data:`STAGES`.
        slot: what it sets; two techniques that edit one slot conflict (``weights``, ``kv``, ``stack.kernel:sdpa``).
        change: (the question so far, the settings) → the changed scenario. Numbers it computes broadcast.
    """

    stage: str
    slot: str
    change: Callable[[Subject, Settings], Scenario]


@dataclass(frozen=True, slots=True, kw_only=True)
class Technique:
    """A named, cited change of a scenario.

    Attributes:
        name: kebab-case, as ``--technique`` takes it.
        title: what people call it.
        family: a key of :data:`FAMILIES`.
        mechanism: in one sentence, what it changes physically.
        papers: ids of the literature it implements, most particular first.
        citation: for people: authors or name, venue or arXiv number.
        edits: made in the order of their stages.
        refuse: says why it does not apply to a question, or None where it does.
        parameters: see :class:`Parameter`.
        quality: quoted effects on what the model says.
        exact: results are the same up to rounding.
        memory_only: changes what is kept and nothing that is computed: FLOPs stay as they are.
        also: names of techniques it cannot stand beside, for reasons no slot shows.
        whatif: `whatif` tries it unasked; False for substitutions that are a question of their own (another machine).
        kernel_grade: grade of a kernel variant's efficiency it rests on (``published``, ``assumed``); empty for none. A verdict
            that rests on one is at most *bounded*.
    """

    name: str
    title: str
    family: str
    mechanism: str
    edits: tuple[Edit, ...]
    papers: tuple[str, ...] = ()
    citation: str = ""
    parameters: tuple[Parameter, ...] = ()
    refuse: Callable[[Subject, Settings], Refusal | None] = lambda subject, settings: None
    quality: tuple[Quote, ...] = ()
    exact: bool = False
    memory_only: bool = False
    also: tuple[str, ...] = ()
    whatif: bool = True
    kernel_grade: str = ""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"{self.name}: no family {self.family!r}")
        wrong = [e.stage for e in self.edits if e.stage not in STAGES]
        if wrong or not self.edits:
            raise ValueError(f"{self.name}: edits need a stage of {', '.join(STAGES)}")

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter's value.

        Raises:
            BadInput: for a parameter it does not have, or a value it cannot take.
        """
        known = {p.name: p for p in self.parameters}
        for name in given:
            if name not in known:
                raise BadInput(
                    f"{self.name} has no parameter {name!r}", expected=", ".join(known) or "no parameters",
                )  # fmt: skip
        return {p.name: p.parsed(given[p.name], self.name) if p.name in given else p.default for p in self.parameters}


TECHNIQUES: Registry[Technique] = Registry("technique", "speedlight.techniques")


def register(technique: Technique) -> Technique:
    """File a technique under its name; third parties' entry points name what this returns."""
    return TECHNIQUES.register(technique.name)(technique)


@lru_cache(maxsize=1)
def _loaded() -> None:
    from . import library

    for found in pkgutil.walk_packages(library.__path__, library.__name__ + "."):
        if not found.ispkg:
            importlib.import_module(found.name)


def find(name: str) -> Technique:
    """A technique by name.

    Raises:
        UnknownName: suggesting the nearest.
    """
    _loaded()
    return TECHNIQUES.get(name)


def catalogue() -> dict[str, Technique]:
    """All techniques by name, in alphabetical order."""
    _loaded()
    return {name: TECHNIQUES.get(name) for name in TECHNIQUES}
