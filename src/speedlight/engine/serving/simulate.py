"""A question, a load and a policy → what users see: step times from the engine, queues from the simulator."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._foundation.errors import BadInput
from ..._foundation.provenance import Assumption
from ...scenario.scenario import Scenario
from ...scenario.serving import Engines, Load, Serving
from ...serving.arrivals import closed, open_loop, sessions, with_adapters, with_prefix
from ...serving.deployment import Deployment
from ...serving.metrics import Latencies, Objective, latencies, summary
from ...serving.requests import Requests
from ...serving.simulate import Run, simulate
from ...serving.steady import closed_loop
from ...serving.steps import Verifying, in_turns
from ...serving.traces import read_trace
from .deploy import deployed


def requests_of(load: Load, block_size: int, rate: float | None = None) -> Requests:
    """The requests of a load, at another rate if one is given.

    Raises:
        BadInput: for a load that says nothing, or twice the same.
    """
    rate = load.rate if rate is None else rate
    if sum(v is not None for v in (load.rate, load.concurrency)) > 1 or (
        load.arrivals is None and rate is None and load.concurrency is None
    ):
        raise BadInput(
            "no load" if rate is None else "a rate and a concurrency",
            expected="one of a rate, a concurrency, or a trace file",
            hint="--rate 8, --concurrency 64 or --arrivals FILE",
        )
    if load.turns > 1:
        made = _conversations(load, block_size, rate)
    elif load.arrivals is not None:
        made = _from_trace(load, rate)
    elif load.concurrency is not None:
        count = load.requests or 10 * load.concurrency
        made = closed(load.concurrency, count, load.isl, load.osl, spread=load.spread, think=load.think, seed=load.seed)
    else:
        made = open_loop(
            rate or 1.0, load.requests or 1000, load.isl, load.osl, burstiness=load.burstiness, spread=load.spread,
            seed=load.seed,
        )  # fmt: skip
    if load.shared:
        made = with_prefix(made, load.shared, load.groups, block_size, load.seed)
    return with_adapters(made, load.adapters, load.skew, load.seed) if load.adapters else made


def _conversations(load: Load, block_size: int, rate: float | None) -> Requests:
    if load.concurrency is not None or load.arrivals is not None or load.shared or rate is None:
        raise BadInput(
            f"conversations of {load.turns} turns beside another sort of load", expected="--rate of conversations alone"
        )
    count = max((load.requests or 1000) // load.turns, 1)
    return sessions(
        count, load.turns, rate, load.isl, load.osl, pause=load.pause, link_tokens=block_size,
        burstiness=load.burstiness, seed=load.seed,
    )  # fmt: skip


def _from_trace(load: Load, rate: float | None) -> Requests:
    made = read_trace(load.arrivals or "")
    if load.requests is not None and load.requests < len(made):
        made = _first(made, load.requests)
    if load.concurrency is not None:
        return made.replace(arrival=np.zeros(len(made)), clients=load.concurrency, think=load.think)
    if rate is None:
        return made
    if math.isfinite(made.rate):
        return made.at_rate(rate)
    gaps = np.random.default_rng(load.seed).gamma(load.burstiness, 1 / (rate * load.burstiness), len(made))
    return made.replace(arrival=np.cumsum(gaps) - gaps[0])


def _first(load: Requests, count: int) -> Requests:
    changes: dict[str, Any] = {n: getattr(load, n)[:count] for n in ("arrival", "prompt", "output")}
    if load.chain_at is not None and load.chain is not None:
        changes |= {"chain_at": load.chain_at[: count + 1], "chain": load.chain[: load.chain_at[count]]}
    return load.replace(**changes)


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


def answer(scenario: Scenario, objectives: tuple[Objective, ...] = ()) -> Answer:
    """Simulate the load of a scenario.

    Raises:
        BadInput: a scenario without one, loads that say nothing or twice the same; engines that hold nothing.
    """
    if scenario.serving is None:
        raise BadInput(
            "a question without a load", expected="a scenario whose `serving` says what comes", hint="--rate 8"
        )
    load, engines = scenario.serving.load, scenario.serving.engines
    deployment, priced, assumptions = deployed(scenario, engines, load.adapters)
    requests = requests_of(load, engines.block_size)
    run = simulate(requests, deployment, seed=load.seed)
    pool = deployment.engine
    facts = {
        "model": priced.facts.model, "machine": priced.facts.machine, "stack": priced.facts.stack,
        "policy": pool.policy.id, "parallel": {"tp": priced.layout.tp, "pp": priced.layout.pp, "ep": priced.layout.moe_ep, "attention_dp": priced.layout.adp},
        "replicas": pool.replicas, "prefill_replicas": engines.prefill_replicas, "devices": deployment.devices,
        "kv": {"blocks": pool.capacity.kv_blocks, "block_size": pool.capacity.block_size, "bytes": priced.memory.cache,
               "tokens": pool.capacity.kv_blocks * pool.capacity.block_size // max(pool.capacity.full_groups, 1)},
        "memory": {"weights": priced.memory.weights, "workspace": priced.memory.workspace, "total": priced.memory.total},
        "max_seqs": pool.capacity.max_seqs, "token_budget": pool.policy.budget or pool.capacity.token_budget,
    }  # fmt: skip
    return Answer(
        scenario, load, engines, deployment, run, summary(run, objectives), objectives, facts, assumptions,
        notes=requests.notes,
    )  # fmt: skip


def saturation(deployment: Deployment, load: Load) -> float:
    """About the largest rate that a deployment sustains: that of a closed loop with more clients than it runs."""
    pool = deployment.engine
    requests = requests_of(load, pool.capacity.block_size, load.rate or 1.0) if load.arrivals else None
    isl = float(requests.prompt.mean()) if requests else load.isl
    osl = float(requests.output.mean()) if requests else load.osl
    room, tables = pool.capacity, pool.tables
    if pool.stages:  # each batch in flight as an engine that takes its turn
        blocks = room.kv_blocks // pool.lanes if pool.policy.shared_room else pool.lane_blocks
        room = dataclasses.replace(room, kv_blocks=max(blocks, 1), max_seqs=pool.lane_seqs)
        tables = in_turns(pool.stages)
    steps = osl / pool.speculation.kept  # a step adds so many tokens to each sequence
    source = Verifying(tables, pool.speculation.drafted)
    found = closed_loop(source, pool.policy, room, 2 * room.max_seqs, isl, steps, alike=False, host=source.host)
    return float(found.output_throughput) / steps * pool.replicas * pool.ranks * pool.lanes


def at_rates(
    deployment: Deployment, load: Load, rates: Iterable[float], objectives: tuple[Objective, ...]
) -> Iterator[dict[str, Any]]:
    """One row of the load–latency curve for each rate, as each is done."""
    block = deployment.engine.capacity.block_size
    base = requests_of(dataclasses.replace(load, concurrency=None, rate=None), block, 1.0)
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


def asked(options: Mapping[str, Any]) -> tuple[Serving, dict[str, Any]]:
    """Options by name, sorted into a load and engines, and the rest, which belongs to the scenario."""
    loads, engines = ({f.name for f in dataclasses.fields(kind)} for kind in (Load, Engines))
    given = {k: v for k, v in options.items() if v is not None}
    load = Load(**{k: v for k, v in given.items() if k in loads})
    how = Engines(**{k: v for k, v in given.items() if k in engines})
    return Serving(load, how), {k: v for k, v in given.items() if k not in loads | engines}
