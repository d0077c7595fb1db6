"""What serves: pools of engines with their step times, rules and room, and the router before them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .._foundation.errors import BadInput
from .policy import Policy
from .steps import Capacity, StepTables

ROUTERS = ("round-robin", "least-loaded")


@dataclass(frozen=True)
class Speculation:
    """Drafted tokens a step, and the chance that each is kept while those before it were.

    The cost of drafting and of verifying belongs to the step times.
    """

    drafted: int = 0
    acceptance: float = 0.0

    def __post_init__(self) -> None:
        if self.drafted < 0 or not 0.0 <= self.acceptance <= 1.0:
            raise BadInput(
                f"{self.drafted} drafted tokens kept with {self.acceptance}", expected="k ≥ 0, a chance from 0 to 1"
            )

    @property
    def kept(self) -> float:
        """Expected tokens a verification adds: (1 − a^(k+1)) / (1 − a) (Leviathan et al. 2023, eq. 1)."""
        return float(sum(self.acceptance**k for k in range(self.drafted + 1)))


@dataclass(frozen=True)
class Pool:
    """Engines of one kind.

    Attributes:
        tables: their step times.
        policy, capacity: rules, and what one attention rank holds.
        replicas: engines of the pool.
        ranks: attention ranks an engine has; they start and end a step together.
        devices: of one engine, for rates per device.
        speculation: see :class:`Speculation`.
        adapter_slots: adapters that fit beside the model (0: all of them); a further one costs ``adapter_seconds`` to bring.
        swap_seconds: per block, one way.
        stages: tables of each pipeline stage, sends to the next included, in the order a batch passes them; empty for an engine that
            is one stage. ``tables`` are then those of a pass through all of them.
    """

    tables: StepTables
    policy: Policy
    capacity: Capacity
    replicas: int = 1
    ranks: int = 1
    devices: int = 1
    speculation: Speculation = Speculation()
    adapter_slots: int = 0
    adapter_seconds: float = 0.0
    swap_seconds: float = 0.0
    stages: tuple[StepTables, ...] = ()

    def __post_init__(self) -> None:
        for name in ("replicas", "ranks", "devices"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} of {getattr(self, name)}", expected="at least 1")

    @property
    def lanes(self) -> int:
        """Batches an engine has in flight: one a stage."""
        return max(len(self.stages), 1)

    @property
    def lane_seqs(self) -> int:
        """Sequences of a batch at most: the engine's bound, dealt to its batches where the policy counts all of them."""
        return self.capacity.max_seqs if self.policy.batch_seqs else -(-self.capacity.max_seqs // self.lanes)

    @property
    def lane_blocks(self) -> int:
        """Blocks that a request may find: the engine's, or its batch's part of them."""
        return self.capacity.kv_blocks if self.policy.shared_room else max(self.capacity.kv_blocks // self.lanes, 1)

    def replace(self, **changes: Any) -> Pool:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Link:
    """How keys and values get from a prefill rank to a decode rank.

    Attributes:
        seconds_per_token: bytes of one token over the bandwidth of a rank's link.
        latency: seconds on top of each transfer.
        first_from_decode: the first token is the decode engine's (it repeats the prompt's last position); else the prefill
            engine's, and the transfer shows between the first and the second token.
    """

    seconds_per_token: float = 0.0
    latency: float = 0.0
    first_from_decode: bool = False


@dataclass(frozen=True, slots=True)
class Scaling:
    """Replicas that come and go: one is started where more than ``up`` requests a rank are in flight, an idle one stopped
    below ``down``. A new one serves ``cold_start`` seconds later: the time to bring its weights over their path and to warm up.
    """

    up: float
    down: float = 0.0
    cold_start: float = 0.0
    least: int = 1


@dataclass(frozen=True)
class Deployment:
    """What a load meets.

    Attributes:
        engine: the engines; those that decode where prompts run elsewhere.
        prefill: engines that run prompts only, and hand over through ``link``; None where each engine does both.
        router: ``round-robin`` or ``least-loaded``, over all ranks of a pool.
        scaling: None for a fixed number of replicas.
    """

    engine: Pool
    prefill: Pool | None = None
    link: Link = Link()
    router: str = "least-loaded"
    scaling: Scaling | None = None

    def __post_init__(self) -> None:
        if self.router not in ROUTERS:
            raise BadInput(f"router {self.router!r}", expected=" or ".join(ROUTERS))
        if self.scaling is not None and self.prefill is not None:
            raise BadInput("scaling of split pools", expected="one pool, or a fixed number of engines")

    @property
    def pools(self) -> tuple[Pool, ...]:
        """In the order in which a request passes them."""
        return (self.engine,) if self.prefill is None else (self.prefill, self.engine)

    @property
    def devices(self) -> int:
        return sum(pool.replicas * pool.devices for pool in self.pools)
