"""Scheduler policies as data: what each engine does at a step boundary, by name and version.

A policy states rules, never times. The figures are the engines' documented defaults; sources stand beside each entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from .._foundation.errors import BadInput, UnknownName

PREEMPTIONS = ("recompute", "swap")
VICTIMS = ("latest", "least-progress")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a scheduler does between two steps.

    Attributes:
        name, version: as asked for.
        mixed: prompts share a step with decoding sequences; else a step with prompts holds nothing else and goes first.
        chunked: a prompt may be split over steps; else it runs whole, alone if it exceeds the budget.
        budget: new tokens of a step at most; None takes the capacity's.
        max_prompts: prompts begun in one step at most; 0 for no bound.
        reserve: share of a request's remaining output that admission sets blocks aside for, at the start and at least;
            1 is "guaranteed no evict", 0 admits what the prompt alone needs.
        reserve_least, reserve_decay: the share falls by ``reserve_decay`` a decode step to ``reserve_least``, and a preemption sets it back.
        watermark: share of blocks that admission leaves free.
        preemption: ``recompute`` or ``swap``.
        victim: ``latest`` admitted, or ``least-progress``: fewest tokens generated.
        overlap: the host prepares a step while the device runs the one before it: host time hides, and what is decided
            is a step older: a request that arrives or ends during a step is seen one step later.
        static: admits only when nothing runs.
        prefix_caching: keeps blocks of finished prompts for requests that begin alike.
        batch_seqs: of pipeline stages: the bound on sequences is that of each batch in flight, else of all of an engine's.
        shared_room: of pipeline stages: batches in flight share the engine's blocks, else each has its part of them.
        pieces_follow: of pipeline stages: a prompt's next piece enters as soon as the one before it has left the first stage.
        source: where the rules are documented.
    """

    name: str
    version: str
    mixed: bool
    chunked: bool
    budget: int | None = None
    max_prompts: int = 0
    reserve: float = 0.0
    reserve_least: float = 0.0
    reserve_decay: float = 0.0
    watermark: float = 0.0
    preemption: str = "recompute"
    victim: str = "latest"
    overlap: bool = False
    static: bool = False
    prefix_caching: bool = False
    batch_seqs: bool = False
    shared_room: bool = True
    pieces_follow: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        if self.preemption not in PREEMPTIONS:
            raise BadInput(f"preemption {self.preemption!r}", expected=" or ".join(PREEMPTIONS))
        if self.victim not in VICTIMS:
            raise BadInput(f"victim {self.victim!r}", expected=" or ".join(VICTIMS))
        for name in ("reserve", "reserve_least", "watermark"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise BadInput(f"{name} of {getattr(self, name)}", expected="a share between 0 and 1")
        if self.budget is not None and self.budget < 1:
            raise BadInput(f"a budget of {self.budget} tokens", expected="at least 1")

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    def replace(self, **changes: object) -> Policy:
        return replace(self, **changes)  # type: ignore[arg-type]


def changed(policy: Policy, rules: Mapping[str, object]) -> Policy:
    """The policy with some of its rules changed; named after what it came from.

    Raises:
        BadInput: for a rule that no policy has.
    """
    if not rules:
        return policy
    known = {f.name for f in fields(Policy)} - {"name", "version", "source"}
    for name in rules:
        if name not in known:
            raise BadInput(f"the scheduler has no rule {name!r}", expected=", ".join(sorted(known)))
    said = ", ".join(f"{k} {v}" for k, v in sorted(rules.items()))
    return replace(policy, source=f"{policy.source}; with {said}", **rules)  # type: ignore[arg-type]


_POLICIES = (
    Policy(
        "vllm", "0", mixed=False, chunked=False, watermark=0.01, max_prompts=0, batch_seqs=True, shared_room=False,
        source="vLLM V0 scheduler: waiting prompts before decodes, watermark 0.01, recompute of the latest sequence; of pipeline "
        "stages a scheduler each, with num_gpu_blocks // pipeline_parallel_size blocks (vllm/core/scheduler.py)",
    ),
    Policy(
        "vllm", "1", mixed=True, chunked=True, prefix_caching=True, pieces_follow=True,
        source="vLLM V1 scheduler: one token budget, running requests first, then waiting ones in chunks; prefix caching on",
    ),
    Policy(
        "vllm", "1-async", mixed=True, chunked=True, overlap=True, prefix_caching=True, pieces_follow=True,
        source="vLLM V1 with asynchronous scheduling (--async-scheduling)",
    ),
    Policy(
        "sglang", "0.4", mixed=False, chunked=True, max_prompts=0, reserve=0.7, reserve_least=0.098,
        reserve_decay=0.602 / 600, victim="least-progress", overlap=True, prefix_caching=True, pieces_follow=True,
        source="SGLang: prefill first, chunked; new_token_ratio 0.7 falling to 0.14 of it in 600 steps; retracts the request "
        "with fewest output tokens; overlap scheduler on since 0.4",
    ),
    Policy(
        "sglang", "0.4-mixed", mixed=True, chunked=True, reserve=0.7, reserve_least=0.098, reserve_decay=0.602 / 600,
        victim="least-progress", overlap=True, prefix_caching=True, pieces_follow=True,
        source="SGLang with --enable-mixed-chunk",
    ),
    Policy(
        "tensorrt-llm", "1", mixed=True, chunked=False, reserve=1.0, reserve_least=1.0, overlap=True, prefix_caching=True,
        batch_seqs=True,
        source="TensorRT-LLM: in-flight batching, capacity policy GUARANTEED_NO_EVICT, overlap scheduler, block reuse on",
    ),
    Policy(
        "tensorrt-llm", "1-max-utilization", mixed=True, chunked=True, overlap=True, prefix_caching=True, batch_seqs=True,
        source="TensorRT-LLM: capacity policy MAX_UTILIZATION with chunked context; pauses the latest request",
    ),
    Policy(
        "llama.cpp", "1", mixed=True, chunked=True, budget=2048, reserve=1.0, reserve_least=1.0,
        source="llama.cpp server: slots with a context of their own, continuous batching, n_batch 2048",
    ),
    Policy(
        "orca", "1", mixed=True, chunked=False, reserve=1.0, reserve_least=1.0,
        source="Orca (OSDI 2022): iteration-level scheduling with selective batching, memory reserved for the longest answer",
    ),
    Policy("static", "1", mixed=False, chunked=False, static=True, reserve=1.0, reserve_least=1.0,
           source="a batch runs until its last sequence ends; then the next one starts"),
)  # fmt: skip

_DEFAULTS = {"vllm": "1", "sglang": "0.4", "tensorrt-llm": "1", "llama.cpp": "1", "orca": "1", "static": "1"}


def policies() -> tuple[Policy, ...]:
    """Every policy that ships."""
    return _POLICIES


def policy(name: str) -> Policy:
    """A policy by ``name`` or ``name@version``.

    A number that is no version of the list takes the newest one at or below it (vLLM 0.8 and later are V1).

    Raises:
        UnknownName: no such policy.
    """
    base, _, version = name.partition("@")
    own = {p.version: p for p in _POLICIES if p.name == base}
    if not own:
        raise UnknownName("scheduler policy", name, [p.id for p in _POLICIES])
    if version in own:
        return own[version]
    if base == "vllm" and version and _number(version) < (0, 8):
        return own["0"]
    return own[_DEFAULTS[base]]


def _number(version: str) -> tuple[int, ...]:
    parts = version.replace("-", ".").split(".")
    return tuple(int(p) for p in parts if p.isdigit()) or (1,)
