"""A serving question: what comes, and how the engines serve it. Techniques of the serving stage edit this record.

Plain data, like everything a scenario holds: :mod:`speedlight.engine.serving.simulate` builds requests and engines of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Load:
    """What comes.

    Attributes:
        rate: requests a second; of a trace the rate it is stretched to.
        concurrency: clients of a closed loop, instead of a rate.
        arrivals: a trace file.
        isl, osl, spread: lengths (uniform within ± spread of the mean), where no trace states them.
        requests: how many; by default 1000, 10 per client, or the whole trace.
        burstiness: 1 Poisson; below 1 in bursts.
        think: seconds between a client's requests.
        shared, groups: prompt tokens shared within each of so many groups.
        turns: of a conversation: each begins with all that was said before; ``rate`` is then that of conversations.
        pause: seconds between an answer and the next turn.
        adapters: low-rank adapters asked for, the k-th with weight 1/k^``skew``.
        seed: of times, lengths and drafts.
    """

    rate: float | None = None
    concurrency: int | None = None
    arrivals: str | None = None
    isl: int = 1024
    osl: int = 128
    spread: float = 0.0
    requests: int | None = None
    burstiness: float = 1.0
    think: float = 0.0
    shared: int = 0
    groups: int = 1
    turns: int = 1
    pause: float = 10.0
    adapters: int = 0
    skew: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Engines:
    """How the engines serve.

    Attributes:
        policy: of the scheduler, by name and version; by default the stack's.
        rules: changes to that policy, in :class:`speedlight.serving.policy.Policy`'s words (``{"chunked": True}``).
        replicas: engines behind the router (of split pools: those that decode).
        prefill_replicas: engines that run prompts only; 0 for engines that do both.
        prefill_tp: tensor-parallel degree of those; 0 for the same as the others'.
        prefill_machine: what those run on; empty for the same.
        router: ``least-loaded`` or ``round-robin``.
        max_seqs, token_budget, block_size: as the engines' options of that name.
        kv_blocks: instead of those that fit.
        kv_share: share of the blocks that fit which hold anything (what else is kept beside keys and values, lost to
            reservations for the longest answer).
        drafted, acceptance: speculative decoding.
        link: bytes a second over which one device hands keys and values on.
        scale_up, scale_down, cold_start: see :class:`speedlight.serving.deployment.Scaling`; 0 for a fixed number.
        adapter_slots, adapter_seconds: see :class:`speedlight.serving.deployment.Pool`.
        adapter_rank: of the adapters, whose weights a step then reads and multiplies by; 0 leaves that out.
        swap_bytes: host memory of one device for swapped keys and values; swap_copies: copies a block is moved in.
        attention_dp: replicas of the attention within an engine; they step together and share the experts.
        memory_utilisation: share of a device's memory that the engine takes.
    """

    policy: str | None = None
    rules: Mapping[str, object] = field(default_factory=dict)
    replicas: int = 1
    prefill_replicas: int = 0
    prefill_tp: int = 0
    prefill_machine: str = ""
    router: str = "least-loaded"
    max_seqs: int = 256
    token_budget: int = 8192
    block_size: int = 16
    kv_blocks: int | None = None
    kv_share: float = 1.0
    drafted: int = 0
    acceptance: float = 0.0
    link: float | None = None
    scale_up: float = 0.0
    scale_down: float = 0.0
    cold_start: float = 0.0
    adapter_slots: int = 0
    adapter_seconds: float = 0.0
    adapter_rank: int = 0
    swap_bytes: float = 0.0
    swap_copies: int = 1
    attention_dp: int = 1
    memory_utilisation: float = 0.9

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", MappingProxyType(dict(self.rules)))


@dataclass(frozen=True, slots=True)
class Serving:
    """A load and the engines it meets."""

    load: Load = Load()
    engines: Engines = Engines()

    def with_load(self, **changes: Any) -> Serving:
        return dataclasses.replace(self, load=dataclasses.replace(self.load, **changes))

    def with_engines(self, **changes: Any) -> Serving:
        return dataclasses.replace(self, engines=dataclasses.replace(self.engines, **changes))
