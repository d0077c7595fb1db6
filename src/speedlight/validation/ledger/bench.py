"""What derivations ask with: the engine and the sizes of models and machines. Every input that goes in is written down.

A bench may be *perturbed*: memory bandwidths, peaks, links and sizes times a factor. Verdicts must change then, or nothing was
derived (a test holds them to it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..._foundation.formats import number_format
from ...engine.answers.prediction import Prediction
from ...hardware.catalogue import load_machine
from ...hardware.machine import Machine
from ...scenario.scenario import Scenario
from ...techniques.compose import ask, parsed
from ...techniques.gains import gain
from ...techniques.technique import find
from .finding import Given, Span, exactly
from .loads import Variants, variants

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Perturbation:
    """Factors on what the engine is given; 1 leaves it as it is."""

    bandwidth: float = 1.0
    peaks: float = 1.0
    links: float = 1.0
    capacity: float = 1.0
    sizes: float = 1.0

    def figures(self, machine: Machine) -> dict[str, Any]:
        """Machine figures by path, as a scenario overrides them."""
        found: dict[str, Any] = {}
        for tier in machine.tiers:
            found[f"tiers.{tier.name}.bandwidth"] = tier.bandwidth * self.bandwidth
            found[f"tiers.{tier.name}.capacity_bytes"] = tier.capacity_bytes * self.capacity
        for link in machine.links:
            found[f"links.{link.name}.bandwidth"] = link.bandwidth * self.links
        for domain in machine.domains:
            found[f"domains.{domain.name}.bandwidth"] = domain.bandwidth * self.links
        for engine in machine.engines:
            found[f"engines.{engine.name}.peaks"] = self.peaks
        return found


NONE = Perturbation()


class Bench:
    """One ledger's run: answers are remembered between derivations, inputs are per derivation (:meth:`fresh`)."""

    def __init__(self, perturbed: Perturbation = NONE, models_dir: str | None = None) -> None:
        self.perturbed = perturbed
        self._models_dir = models_dir
        self._answers: dict[str, Prediction] = {}
        self._served: dict[str, Variants] = {}
        self.inputs: list[Given] = []
        self.capped = False

    def fresh(self) -> None:
        """Start a derivation."""
        self.inputs, self.capped = [], False

    # Inputs ---------------------------------------------------------------------------------------------------------------

    def stated(self, **settings: Any) -> dict[str, Any]:
        """What the claim's own source states of its setting, in the words of the command line; handed back to ask with."""
        for what, value in settings.items():
            self.given(what, value)
        return settings

    def given(self, what: str, value: T, grade: str = "published", source: str = "") -> T:
        """An input with its grade: ``published`` for what the claim's own source states, ``assumed`` for what we chose."""
        note = Given(what, value, grade, source)
        if note not in self.inputs:
            self.inputs.append(note)
        return value

    def _chosen(self, what: str, value: Any) -> None:
        """An input nobody wrote down: a choice of the derivation's."""
        if not any(g.what == what for g in self.inputs):
            self.given(what, value, "assumed", "chosen for this derivation")

    def _note(self, model: str, machine: str, techniques: Sequence[str], options: Mapping[str, Any]) -> None:
        """Write down all that a question rests on."""
        for what, value in {"model": model, "machine": machine, **options}.items():
            if what != "phase":
                self._chosen(what, value)
        self.capped |= any(find(parsed(label).name).kernel_grade for label in techniques)

    def unstated(self, what: str, values: Sequence[T], why: str = "") -> Iterator[T]:
        """Every admissible value of what the source leaves open, one after the other."""
        self.given(what, list(values), "unstated", why or "the source leaves it open; admissible values")
        yield from values

    # The engine -----------------------------------------------------------------------------------------------------------

    def question(self, model: str, machine: str, techniques: Sequence[str] = (), **options: Any) -> Scenario:
        """A scenario in the words of :func:`speedlight.api.make_scenario`, with techniques by label (``name:k=v``)."""
        from ...engine.questions.question import make_scenario

        scenario = make_scenario(model, machine, models_dir=self._models_dir, **options)
        if self.perturbed is not NONE:
            figures = self.perturbed.figures(load_machine(scenario.machine, scenario.machines_dir))
            scenario = scenario.replace(overrides={**figures, **scenario.overrides})
        return scenario.replace(techniques=tuple(parsed(label) for label in techniques))

    def ask(self, model: str, machine: str, techniques: Sequence[str] = (), **options: Any) -> Prediction:
        """The engine's answer. What of the question is not written down yet (:meth:`stated`, :meth:`unstated`) is ``assumed``."""
        self._note(model, machine, techniques, options)
        key = repr((model, machine, tuple(techniques), sorted(options.items(), key=lambda kv: kv[0])))
        if key not in self._answers:
            self._answers[key] = ask(self.question(model, machine, techniques, **options), details=False, joint=True)
        return self._answers[key]

    def detailed(self, model: str, machine: str, techniques: Sequence[str] = (), **options: Any) -> Prediction:
        """The engine's answer with its op rows, for who asks about parts of a step."""
        self._note(model, machine, techniques, options)
        return ask(self.question(model, machine, techniques, **options), details=True)

    def serve(self, model: str, machine: str, techniques: Sequence[str] = (), **options: Any) -> Variants:
        """A deployment under a load (:mod:`.loads`), in the words of :func:`speedlight.api.simulate`; noted as in :meth:`ask`."""
        from ...engine.serving.simulate import asked
        from ...techniques.compose import applied

        self._note(model, machine, techniques, options)
        serving, rest = asked(options)
        question = self.question(model, machine, techniques, phase="decode", **rest).replace(serving=serving)
        key = repr(("serve", model, machine, tuple(techniques), sorted(options.items(), key=lambda kv: kv[0])))
        if key not in self._served:
            self._served[key] = variants(applied(question))
        return self._served[key]

    def speedup(self, before: Prediction, after: Prediction, of: str = "latency") -> Span:
        """Before over after with its interval; the bound is before over after's speed of light.

        Args:
            of: ``latency`` (seconds of a call) or ``throughput`` (work per second and device).
        """
        made = gain(before, after)
        work = float(made.speedup / made.latency)  # what a call does, after over before
        scale = 1.0 if of == "throughput" else 1.0 / work
        bound = float(before.time / after.limit) * work * scale
        return Span(float(made.low) * scale, float(made.speedup) * scale, float(made.high) * scale, bound)

    def time(self, answer: Prediction) -> Span:
        """Seconds of a call."""
        return Span(float(answer.low), float(answer.time), float(answer.high), float(answer.limit))

    def rate(self, answer: Prediction, per: str = "all") -> Span:
        """Work per second: ``all`` devices together, or ``device``."""
        value = float(answer.throughput["value" if per == "all" else "per_device"])
        work = value * float(answer.time)
        return Span(work / float(answer.high), value, work / float(answer.low), work / float(answer.limit))

    def memory(self, answer: Prediction, *classes: str) -> Span:
        """Bytes of a device, of all classes or of some."""
        if not classes:
            return exactly(float(answer.memory.total))
        return exactly(float(sum(answer.memory.by_class[c] for c in classes)))

    # Sizes ----------------------------------------------------------------------------------------------------------------

    def facts(self, model: str, **formats: Any) -> Mapping[str, Any]:
        """CONTRACT's ``model`` object: params, active_params, weight_bytes, kv_bytes_per_token."""
        from ...engine.programs.chain import model_facts
        from ...engine.questions.resolve import resolve

        self._chosen("model", model)
        facts = model_facts(resolve(self.question(model, "h100-sxm-80gb", **formats)))
        return {k: v * self.perturbed.sizes if isinstance(v, (int, float)) else v for k, v in facts.items()}

    def bits(self, fmt: str) -> float:
        """Bits of an element of a number format, scales included."""
        return number_format(fmt).bits * self.perturbed.sizes

    def machine(self, name: str) -> Machine:
        """A machine of the catalogue."""
        self._chosen("machine", name)
        machine = load_machine(name, None)
        return machine if self.perturbed is NONE else machine.with_values(self.perturbed.figures(machine))

    def size(self, value: float) -> float:
        """A count that arithmetic rests on (layers, tokens, bytes), open to perturbation."""
        return value * self.perturbed.sizes

    @staticmethod
    def slope(sizes: Sequence[float], values: Sequence[float]) -> Span:
        """The log-log slope of a law over a range, with the least and the greatest local slope."""
        x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(values, dtype=float))
        local = np.diff(y) / np.diff(x)
        return Span(float(local.min()), float(np.polyfit(x, y, 1)[0]), float(local.max()))
