"""A question, a load and a policy → what users see: step times from the engine, queues from the simulator."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from .._foundation.provenance import Assumption
from ..scenario.scenario import Scenario
from ..serving.arrivals import closed, open_loop, with_adapters, with_prefix
from ..serving.deployment import Deployment, Link, Pool, Scaling, Speculation
from ..serving.metrics import Latencies, Objective, latencies, summary
from ..serving.policy import policy as policy_named
from ..serving.requests import Requests
from ..serving.simulate import Run, simulate
from ..serving.steady import closed_loop
from ..serving.traces import read_trace
from .served_steps import Served, capacity_of, served

LINK = 50e9  # bytes a second of one device's network port where nobody says: 400 Gb/s


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
        adapters: low-rank adapters asked for, the k-th with weight 1/k.
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
    adapters: int = 0
    seed: int = 0

    def build(self, block_size: int, rate: float | None = None) -> Requests:
        """The requests, at another rate if one is given."""
        rate = self.rate if rate is None else rate
        if sum(v is not None for v in (self.rate, self.concurrency)) > 1 or (
            self.arrivals is None and rate is None and self.concurrency is None
        ):
            raise BadInput(
                "no load" if rate is None else "a rate and a concurrency",
                expected="one of a rate, a concurrency, or a trace file",
                hint="--rate 8, --concurrency 64 or --arrivals FILE",
            )
        if self.arrivals is not None:
            load = self._from_trace(rate)
        elif self.concurrency is not None:
            count = self.requests or 10 * self.concurrency
            load = closed(
                self.concurrency, count, self.isl, self.osl, spread=self.spread, think=self.think, seed=self.seed
            )
        else:
            load = open_loop(
                rate or 1.0, self.requests or 1000, self.isl, self.osl, burstiness=self.burstiness, spread=self.spread,
                seed=self.seed,
            )  # fmt: skip
        if self.shared:
            load = with_prefix(load, self.shared, self.groups, block_size, self.seed)
        return with_adapters(load, self.adapters, 1.0, self.seed) if self.adapters else load

    def _from_trace(self, rate: float | None) -> Requests:
        load = read_trace(self.arrivals or "")
        if self.requests is not None and self.requests < len(load):
            load = _first(load, self.requests)
        if self.concurrency is not None:
            return load.replace(arrival=np.zeros(len(load)), clients=self.concurrency, think=self.think)
        if rate is None:
            return load
        if math.isfinite(load.rate):
            return load.at_rate(rate)
        gaps = np.random.default_rng(self.seed).gamma(self.burstiness, 1 / (rate * self.burstiness), len(load))
        return load.replace(arrival=np.cumsum(gaps) - gaps[0])


def _first(load: Requests, count: int) -> Requests:
    changes: dict[str, Any] = {n: getattr(load, n)[:count] for n in ("arrival", "prompt", "output")}
    if load.chain_at is not None and load.chain is not None:
        changes |= {"chain_at": load.chain_at[: count + 1], "chain": load.chain[: load.chain_at[count]]}
    return load.replace(**changes)


@dataclass(frozen=True, slots=True)
class Engines:
    """How the engines serve.

    Attributes:
        policy: of the scheduler, by name and version; by default the stack's.
        replicas: engines behind the router (of split pools: those that decode).
        prefill_replicas: engines that run prompts only; 0 for engines that do both.
        router: ``least-loaded`` or ``round-robin``.
        max_seqs, token_budget, block_size: as the engines' options of that name.
        kv_blocks: instead of those that fit.
        drafted, acceptance: speculative decoding.
        link: bytes a second over which one device hands keys and values on.
        scale_up, scale_down, cold_start: see :class:`speedlight.serving.deployment.Scaling`; 0 for a fixed number.
        adapter_slots, adapter_seconds: see :class:`speedlight.serving.deployment.Pool`.
        attention_dp: replicas of the attention within an engine; they step together and share the experts.
        memory_utilisation: share of a device's memory that the engine takes.
    """

    policy: str | None = None
    replicas: int = 1
    prefill_replicas: int = 0
    router: str = "least-loaded"
    max_seqs: int = 256
    token_budget: int = 8192
    block_size: int = 16
    kv_blocks: int | None = None
    drafted: int = 0
    acceptance: float = 0.0
    link: float | None = None
    scale_up: float = 0.0
    scale_down: float = 0.0
    cold_start: float = 0.0
    adapter_slots: int = 0
    adapter_seconds: float = 0.0
    attention_dp: int = 1
    memory_utilisation: float = 0.9


@dataclass(frozen=True)
class Answer:
    """What a load sees of a deployment.

    Attributes:
        scenario, load, engines: the question.
        run: of the load itself.
        metrics: see :func:`speedlight.serving.metrics.summary`.
        curve: one row a rate; ``largest_rate``: the largest that holds the objectives, None where not asked.
        facts: model, machine, stack, policy and room.
    """

    scenario: Scenario
    load: Load
    engines: Engines
    deployment: Deployment
    run: Run
    metrics: dict[str, Any]
    objectives: tuple[Objective, ...]
    facts: dict[str, Any]
    assumptions: tuple[Assumption, ...]
    curve: tuple[dict[str, Any], ...] = ()
    largest_rate: float | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether every objective is met (true where there is none)."""
        return bool(self.metrics.get("holds", True))

    @property
    def latencies(self) -> Latencies:
        return latencies(self.run)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: SI units, None for what was not measured."""
        columns = ("time", "running", "waiting", "kv_blocks", "replicas", "finished")
        step = max(1, len(self.run.timeline) // 200)
        timeline = {name: self.run.timeline[::step, i].tolist() for i, name in enumerate(columns)}
        load = {k: v for k, v in dataclasses.asdict(self.load).items() if v is not None}
        plain: dict[str, Any] = _plain({
            **self.facts, "load": load, "metrics": self.metrics, "holds": self.holds, "curve": list(self.curve),
            "largest_rate": self.largest_rate, "timeline": timeline, "notes": list(self.notes),
            "assumptions": [a.to_dict() for a in self.assumptions],
        })  # fmt: skip
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def answer(scenario: Scenario, load: Load, engines: Engines, objectives: tuple[Objective, ...] = ()) -> Answer:
    """Simulate one load.

    Raises:
        BadInput: loads that say nothing or twice the same; engines that hold nothing.
    """
    deployment, priced, assumptions = deployed(scenario, engines)
    requests = load.build(engines.block_size)
    run = simulate(requests, deployment, seed=load.seed)
    pool = deployment.engine
    facts = {
        "model": priced.facts.model, "machine": priced.facts.machine, "stack": priced.facts.stack,
        "policy": pool.policy.id, "parallel": {"tp": priced.layout.tp, "pp": priced.layout.pp, "ep": priced.layout.moe_ep, "attention_dp": priced.layout.adp},
        "replicas": pool.replicas, "prefill_replicas": engines.prefill_replicas, "devices": deployment.devices,
        "kv": {"blocks": pool.capacity.kv_blocks, "block_size": pool.capacity.block_size, "bytes": priced.memory.cache,
               "tokens": pool.capacity.kv_blocks * pool.capacity.block_size // max(pool.capacity.full_groups, 1)},
        "max_seqs": pool.capacity.max_seqs, "token_budget": pool.policy.budget or pool.capacity.token_budget,
    }  # fmt: skip
    return Answer(
        scenario, load, engines, deployment, run, summary(run, objectives), objectives, facts, assumptions,
        notes=requests.notes,
    )  # fmt: skip


def deployed(scenario: Scenario, engines: Engines) -> tuple[Deployment, Served, tuple[Assumption, ...]]:
    """The deployment with step times and room from the engine."""
    priced = served(scenario, engines.attention_dp, engines.memory_utilisation)
    stack = priced.facts.stack
    policy = policy_named(engines.policy or (stack if stack.split("@")[0] in _SERVERS else "vllm"))
    room = capacity_of(
        priced, block_size=engines.block_size, max_seqs=engines.max_seqs, token_budget=engines.token_budget,
        kv_blocks=engines.kv_blocks,
    )  # fmt: skip
    pool = Pool(
        priced.tables, policy, room, engines.replicas, ranks=engines.attention_dp, devices=int(priced.layout.world),
        speculation=Speculation(engines.drafted, engines.acceptance), adapter_slots=engines.adapter_slots,
        adapter_seconds=engines.adapter_seconds,
    )  # fmt: skip
    notes = [
        Assumption("scheduler policy", policy.id, "published", policy.source),
        Assumption("max sequences, token budget, block size", f"{engines.max_seqs}, {engines.token_budget}, {engines.block_size}",
                   "assumed", "set with --max-seqs, --token-budget, --block-size"),
    ]  # fmt: skip
    prefill, link = None, Link()
    if engines.prefill_replicas:
        prefill = pool.replace(replicas=engines.prefill_replicas, speculation=Speculation())
        speed = engines.link or LINK
        link = Link(priced.kv_bytes * (1 + priced.window_share) / speed, 1e-3)
        notes.append(Assumption("link for keys and values", speed, "assumed" if engines.link is None else "derived",
                                "bytes a second of one device, plus 1 ms a transfer; --kv-link"))  # fmt: skip
    scaling = Scaling(engines.scale_up, engines.scale_down, engines.cold_start) if engines.scale_up else None
    deployment = Deployment(pool, prefill, link, engines.router, scaling)
    return deployment, priced, (*notes, *priced.assumptions)


_SERVERS = ("vllm", "sglang", "tensorrt-llm", "llama.cpp")


def saturation(deployment: Deployment, load: Load) -> float:
    """About the largest rate that a deployment sustains: that of a closed loop with more clients than it runs."""
    pool = deployment.engine
    requests = load.build(pool.capacity.block_size, load.rate or 1.0) if load.arrivals else None
    isl = float(requests.prompt.mean()) if requests else load.isl
    osl = float(requests.output.mean()) if requests else load.osl
    found = closed_loop(pool.tables, pool.policy, pool.capacity, 2 * pool.capacity.max_seqs, isl, osl, alike=False)
    return float(found.output_throughput) / osl * pool.replicas * pool.ranks


def at_rates(
    deployment: Deployment, load: Load, rates: Iterable[float], objectives: tuple[Objective, ...]
) -> Iterator[dict[str, Any]]:
    """One row of the load–latency curve for each rate, as each is done."""
    block = deployment.engine.capacity.block_size
    base = dataclasses.replace(load, concurrency=None, rate=None).build(block, 1.0)
    for rate in rates:
        run = simulate(base.at_rate(rate) if math.isfinite(base.rate) else base, deployment, seed=load.seed)
        found = summary(run, objectives)
        row = {"rate": float(rate), "holds": found.get("holds", True), "attainment": found.get("attainment")}
        row |= {
            name: found[name] for name in ("request_throughput", "output_throughput", "output_throughput_per_device")
        }
        row["goodput"] = found.get("goodput")
        for metric in ("ttft", "tpot", "e2el"):
            row |= {f"{metric}_{p}": found[metric][p] for p in ("mean", "p50", "p95", "p99")}
        yield row


def curve_rates(deployment: Deployment, load: Load, points: int) -> np.ndarray:
    """Rates from a twentieth of what saturates to a fifth beyond it."""
    return np.linspace(0.05, 1.2, points) * saturation(deployment, load)


def largest_rate(
    deployment: Deployment, load: Load, objectives: tuple[Objective, ...], tick: Callable[[], None] = lambda: None
) -> float:
    """The largest rate that holds every objective, to 1 %, with the same requests closer together; 0 where none does."""
    if not objectives:
        raise BadInput("a largest rate without objectives", expected="--slo, like ttft:p95<2s,tpot:p95<50ms")

    def holds(rate: float) -> bool:
        tick()
        return bool(next(at_rates(deployment, load, [rate], objectives))["holds"])

    high = 2.0 * saturation(deployment, load)
    low = 0.0
    if holds(high):
        return high
    probe = high / 2
    while probe > high * 2.0**-12:
        if holds(probe):
            low = probe
            break
        high, probe = probe, probe / 2
    while low > 0 and high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def with_curve(
    found: Answer, *, points: int = 0, search: bool = False, tick: Callable[[], None] = lambda: None
) -> Answer:
    """The answer with a load–latency curve of so many rates and, where ``search``, the largest rate that holds its objectives."""
    rows = []
    for row in at_rates(
        found.deployment,
        found.load,
        curve_rates(found.deployment, found.load, points) if points else (),
        found.objectives,
    ):
        rows.append(row)
        tick()
    largest = largest_rate(found.deployment, found.load, found.objectives, tick) if search else None
    return dataclasses.replace(found, curve=tuple(rows), largest_rate=largest)


def asked(options: Mapping[str, Any]) -> tuple[Load, Engines, dict[str, Any]]:
    """Options by name, sorted into a load, engines, and the rest, which belongs to the scenario."""
    loads, engines = ({f.name for f in dataclasses.fields(kind)} for kind in (Load, Engines))
    given = {k: v for k, v in options.items() if v is not None}
    load = Load(**{k: v for k, v in given.items() if k in loads})
    how = Engines(**{k: v for k, v in given.items() if k in engines})
    return load, how, {k: v for k, v in given.items() if k not in loads | engines}
