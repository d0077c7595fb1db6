"""Prompts in pieces beside the decoding sequences, so that no step is longer than its token budget."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ...conditions import every, generates, with_load
from ...edits import with_rules
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _pieces(subject: Subject, settings: Settings) -> Scenario:
    budget = max(int(settings["tokens"]), subject.serving.engines.max_seqs)  # every decoding sequence has its token
    return with_rules(subject, static=False, mixed=True, chunked=True, budget=budget)


def _no_drafts(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.serving.engines.drafted and settings["tokens"] < subject.serving.engines.max_seqs:
        return Refusal(
            "drafted tokens need a larger budget than the sequences", "a larger `tokens`, or fewer --max-seqs"
        )
    return None


CHUNKED_PREFILL = register(Technique(
    name="chunked-prefill",
    title="Chunked prefill, stall-free batching (Sarathi-Serve)",
    family="serving",
    mechanism="a prompt is split over steps that decode all the while: decoding never waits for a whole prompt, and steps carry as many tokens as the matrix units can use",
    papers=("taming-throughput-latency-tradeoff-in-llm-inference-with-sar",),
    citation="Agrawal et al., OSDI 2024, arXiv 2403.02310",
    parameters=(Parameter("tokens", 512, "new tokens of a step at most", "token", low=16, high=65536, trials=(2048,),
                          source="Sarathi-Serve, arXiv 2403.02310: budgets of 512 and 2048"),),
    edits=(Edit("serving", "serving.batching", _pieces),),
    refuse=every(with_load, generates, _no_drafts),
    exact=True,
))  # fmt: skip
