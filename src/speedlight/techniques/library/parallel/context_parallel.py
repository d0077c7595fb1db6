"""Context parallelism: the tokens of a sequence over devices, by three ways to see each other's keys and values."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import Condition, every, phases, runs
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register
from ._trade import traded

_DEGREE = Parameter("degree", 2, "ranks", low=2, trials=(4, 8))


def _ring(subject: Subject, settings: Settings) -> Scenario:
    return traded(subject, "cp", settings["degree"], context="ring")


def _heads(subject: Subject, settings: Settings) -> Scenario:
    return traded(subject, "cp", settings["degree"], context="ulysses")


def _gathered(subject: Subject, settings: Settings) -> Scenario:
    return traded(subject, "cp", settings["degree"], context="gather")


def _attends(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.sharded("cp"):
        return Refusal("its sequences are divided already", "another --cp")
    if not any(op.fn == "sdpa" for _, op in subject.graph.ops()):
        return Refusal("no attention whose keys and values could travel")
    return None


_PHASES: Condition = phases("prefill", "train", "forward")

RING = register(Technique(
    name="ring-attention",
    title="Ring attention (context parallelism, pass-KV)",
    family="parallel",
    mechanism="each rank has a part of every sequence; keys and values go round a ring under attention",
    papers=("sequence-parallelism", "context-parallelism-for-scalable-million-token-inference", "bytescale"),
    citation="Liu et al., arXiv 2310.01889; Li et al., arXiv 2105.13120",
    parameters=(_DEGREE,),
    edits=(Edit("placement", "cp", _ring),),
    refuse=every(_PHASES, _attends, runs(_ring)),
    exact=True,
))  # fmt: skip

ULYSSES = register(Technique(
    name="ulysses",
    title="Ulysses (heads for tokens)",
    family="parallel",
    mechanism="two all-to-alls around attention give each rank all tokens of some heads",
    citation="Jacobs et al., arXiv 2309.14509",
    parameters=(_DEGREE,),
    edits=(Edit("placement", "cp", _heads),),
    refuse=every(_PHASES, _attends, runs(_heads)),
    exact=True,
))  # fmt: skip

GATHERED = register(Technique(
    name="gathered-context",
    title="Context parallelism with gathered keys and values (Llama 3)",
    family="parallel",
    mechanism="every rank gathers all keys and values before attention; simple masks, more bytes at once than a ring",
    citation="Llama 3, arXiv 2407.21783 §3.3.2",
    parameters=(_DEGREE,),
    edits=(Edit("placement", "cp", _gathered),),
    refuse=every(_PHASES, _attends, runs(_gathered)),
    exact=True,
))  # fmt: skip
