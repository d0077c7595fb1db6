"""Anybody's claim: words or options → a question with and without the technique → a verdict."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._foundation.errors import BadInput, SpeedlightError, Unsupported
from ...engine.answers.prediction import plain
from ...evidence.literature import Claim
from ...frontends.zoo import zoo_ids
from ...hardware.catalogue import machine_ids
from ...techniques.technique import Technique, catalogue
from .bench import Bench
from .finding import Finding, Span, over, with_inputs
from .verdicts import verdict

# Admissible values of what a claim leaves open: what people run.
BATCHES = (1, 8, 32)
LENGTHS = (512, 2048, 8192)
_PHASES = {
    "decode": "decode", "decoding": "decode", "generation": "decode", "prefill": "prefill", "training": "train", "train": "train",
    "forward": "forward", "inference": "", "end-to-end": "generate",
}  # fmt: skip
_SIZES = {"batch": r"batch(?:\s*size)?\s*(?:of\s*)?=?\s*(\d+)", "context": r"(?:context|seq(?:uence)?(?:\s*length)?)\s*(?:of\s*)?=?\s*(\d+)\s*(k?)",
          "tp": r"\btp\s*=?\s*(\d+)"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Said:
    """A claim taken apart.

    Attributes:
        gain: the claimed factor.
        form: ``value``, ``up_to`` or ``at_least``.
        options: of the question, in the words of the command line.
    """

    gain: float
    form: str
    of: str
    model: str
    machines: tuple[str, ...]
    labels: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def read(text: str, given: Mapping[str, Any]) -> Said:
    """The claim's parts; options win over words.

    Raises:
        BadInput: naming what is missing or ambiguous.
    """
    words = text.lower().strip()
    gain = given.get("gain") or _gain(words)
    if gain is None:
        raise BadInput(
            f"no factor in {text!r}", expected='like "3x decode with FP8 on h100, llama-3.1-70b, batch 8", or --gain 3'
        )
    if not 0 < gain < 1e6:
        raise BadInput(f"a gain of {gain:g}", expected="a factor above 0: 3 for 3×")
    machines = _machines(given.get("on") or _after(words, r"\bon\s+(?:an?\s+|the\s+)?([\w.-]+)"))
    model = given.get("model") or _model(words)
    if model is None:
        raise BadInput(
            "the claim names no model",
            expected="a bundled model's id, or --model",
            hint="`speedlight models` lists them",
        )
    labels = tuple(given.get("labels") or ()) or (_technique(words),)
    options = {k: given[k] for k in ("phase", "batch", "isl", "osl", "context", "tp", "dtype", "stack") if k in given}
    if "phase" not in options and (
        phase := next((p for w, p in _PHASES.items() if re.search(rf"\b{w}\b", words) and p), "")
    ):
        options["phase"] = phase
    for name, pattern in _SIZES.items():
        if name not in options and (found := re.search(pattern, words)):
            options[name] = int(found[1]) * (1024 if found.lastindex == 2 and found[2] else 1)
    of = given.get("of") or (
        "throughput" if "throughput" in words else "memory" if re.search(r"\bmemory\b", words) else "latency"
    )
    form = (
        "up_to"
        if given.get("up_to") or "up to" in words
        else "at_least"
        if re.search(r"at least|more than|over \d", words)
        else "value"
    )
    return Said(float(gain), form, of, model, machines, labels, options)


def check(text: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The claim checked, as plain data: the parts as understood, prediction, bound, verdict, inputs, the words."""
    said = read(text, given)
    bench = Bench()
    bench.fresh()
    found = _derived(said, bench)
    claim = Claim("claim", f"{said.of} gain (x)", "performance", said.form, said.gain)  # type: ignore[arg-type]
    judged = verdict(claim, found)
    return plain({  # type: ignore[no-any-return]
        "claim": {"gain": said.gain, "form": said.form, "of": said.of, "model": said.model, "machines": list(said.machines),
                  "techniques": list(said.labels), **said.options},
        "verdict": judged.word, "predicted": [found.low, found.high], "value": found.value, "bound": found.bound,
        "stated": found.stated, "why": f"{found.why}. {judged.cause}", "inputs": [g.to_dict() for g in found.inputs],
    })  # fmt: skip


def _derived(said: Said, bench: Bench) -> Finding:
    bench.stated(model=said.model, **said.options)
    open_: dict[str, Sequence[Any]] = {}
    if len(said.machines) > 1:
        open_["machine"] = said.machines
    else:
        bench.given("machine", said.machines[0])
    phase = said.options.get("phase")
    if "batch" not in said.options:
        open_["batch"] = BATCHES
    length = "context" if phase in (None, "decode") else "isl"
    if length not in said.options and phase != "forward":
        open_[length] = LENGTHS
    for what, values in open_.items():
        list(bench.unstated(what, values))
    spans: list[Span] = []
    refused: SpeedlightError | None = None
    for values in itertools.product(*open_.values()):
        options = {**said.options, **dict(zip(open_, values, strict=True))}
        machine = options.pop("machine", said.machines[0])
        if phase is None:
            options["phase"] = "decode"
        try:
            before = bench.ask(said.model, machine, **options)
            spans.append(_span(said.of, bench, before, bench.ask(said.model, machine, said.labels, **options)))
        except Unsupported as error:
            refused = error
    if not spans:
        raise refused or Unsupported("the claim cannot be asked")
    words = f"{' + '.join(said.labels)} on {said.model}: {said.of} before over after"
    return with_inputs(over(spans, words), tuple(bench.inputs), bench.capped)


def _span(of: str, bench: Bench, before: Any, after: Any) -> Span:
    if of == "memory":
        ratio = float(before.memory.total) / float(after.memory.total)
        return Span(ratio, ratio, ratio, ratio)
    return bench.speedup(before, after, of)


def _gain(words: str) -> float | None:
    if found := re.search(r"(\d+(?:\.\d+)?)\s*(?:x\b|×|times)", words):
        return float(found[1])
    if found := re.search(r"(\d+(?:\.\d+)?)\s*%\s*(faster|higher|more|less|lower|reduction|shorter)?", words):
        share = float(found[1]) / 100
        less = found[2] in ("less", "lower", "reduction", "shorter")
        return 1 / (1 - share) if less and share < 1 else 1 + share
    return None


def _after(words: str, pattern: str) -> str | None:
    found = re.search(pattern, words)
    return found[1].rstrip(".,") if found else None


def _machines(name: str | None) -> tuple[str, ...]:
    """All machines a short name may mean."""
    if name is None:
        raise BadInput(
            "the claim names no machine", expected="like: on h100, or --on", hint="`speedlight devices` lists them"
        )
    ids = machine_ids()
    key = name.lower().replace(" ", "-")
    if key in ids or key.endswith((".yaml", ".yml")) or key == "here":
        return (key if key in ids else name,)
    found = tuple(m for m in ids if m.startswith(f"{key}-"))
    if not found:
        from ..._foundation.errors import UnknownName

        raise UnknownName("machine", name, ids, "speedlight devices")
    return found


def _model(words: str) -> str | None:
    found = [m for m in zoo_ids() if re.search(rf"(?<![\w.-]){re.escape(m)}(?![\w-])", words)]
    return max(found, key=len) if found else None


def _technique(words: str) -> str:
    """The technique the words after "with" or "using" name.

    Raises:
        BadInput: for none, and for several that fit equally well.
    """
    said = _after_with(words)
    scores = {name: _fit(said, t) for name, t in catalogue().items()}
    best = max(scores.values(), default=0.0)
    names = [n for n, s in scores.items() if s == best]
    if best <= 0 or len(names) > 1:
        near = ", ".join(names[:8]) if best > 0 else "see `speedlight techniques`"
        raise BadInput(f"which technique is {said!r}?", expected=f"--technique NAME: {near}")
    return names[0]


def _after_with(words: str) -> str:
    found = re.search(r"\b(?:with|using|by|through|from)\s+(.+?)(?:\s+on\s+|,|$)", words)
    return found[1] if found else words


def _fit(said: str, technique: Technique) -> float:
    """Share of the name's words that are said; whole names and papers count more."""
    tokens = set(re.findall(r"[a-z0-9]+", said))
    name = re.findall(r"[a-z0-9]+", technique.name)
    hits = [t for t in name if t in tokens]
    score = len(hits) / len(name) if hits else 0.0
    title = set(re.findall(r"[a-z0-9]+", technique.title.lower()))
    return score + (0.25 * len(tokens & title) / max(1, len(tokens)) if tokens & title else 0.0)
