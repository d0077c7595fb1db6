"""Engines of a scenario: their scheduler, step times, room, links; what the simulator is handed (:mod:`.simulate`)."""

from __future__ import annotations

import dataclasses

from ..._foundation.errors import BadInput
from ..._foundation.provenance import Assumption
from ...hardware.machine import Machine
from ...scenario.scenario import Scenario
from ...scenario.serving import Engines
from ...serving.deployment import Deployment, Link, Pool, Scaling, Speculation
from ...serving.policy import Policy, changed, policies
from ...serving.policy import policy as policy_named
from ...serving.steps import StepTables
from .adapters import adapter_table
from .served_steps import Served, capacity_of, served
from .stages import Share

LINK = 50e9  # bytes a second of one device's network port where nobody says: 400 Gb/s


def deployed(
    scenario: Scenario, engines: Engines, adapters: int = 0
) -> tuple[Deployment, Served, tuple[Assumption, ...]]:
    """The deployment with step times and room from the engine.

    Args:
        adapters: low-rank adapters the load asks for.
    """
    asked = scenario.replace(serving=None)
    priced = served(asked, engines.attention_dp, engines.memory_utilisation, engines.drafted)
    stack = priced.facts.stack
    policy = scheduler(engines, stack)
    pool = _pool(priced, policy, engines, engines.replicas, adapters)
    notes = [
        Assumption("scheduler policy", policy.id, "published", policy.source),
        Assumption("max sequences, token budget, block size", f"{engines.max_seqs}, {engines.token_budget}, {engines.block_size}",
                   "assumed", "set with --max-seqs, --token-budget, --block-size"),
    ]  # fmt: skip
    if engines.drafted:
        notes.append(
            Assumption(
                "tokens kept of a verification",
                pool.speculation.kept,
                "derived",
                f"{engines.drafted} drafted, each kept with {engines.acceptance:g} while those before it were; --acceptance",
            )
        )
        notes.append(
            Assumption(
                "drafting", 0.0, "assumed", "seconds of a step: whatever drafts is left out, its verification is priced"
            )
        )
    prefill, link = None, Link()
    if engines.prefill_replicas:
        prompts = _prompting(asked, engines)
        other = priced if prompts is asked else served(prompts, engines.attention_dp, engines.memory_utilisation)
        prefill = _pool(other, policy, engines, engines.prefill_replicas, adapters).replace(speculation=Speculation())
        speed = engines.link or LINK
        link = Link(priced.kv_bytes * (1 + priced.window_share) / speed, 1e-3)
        notes.append(Assumption("link for keys and values", speed, "assumed" if engines.link is None else "derived",
                                "bytes a second of one device, plus 1 ms a transfer; --kv-link"))  # fmt: skip
    scaling = Scaling(engines.scale_up, engines.scale_down, engines.cold_start) if engines.scale_up else None
    deployment = Deployment(pool, prefill, link, engines.router, scaling)
    return deployment, priced, (*notes, *priced.assumptions)


def _pool(priced: Served, policy: Policy, engines: Engines, replicas: int, adapters: int) -> Pool:
    stages, block = priced.stages, engines.block_size
    tables = priced.tables
    if adapters and engines.adapter_rank:
        most = min(adapters, engines.max_seqs)

        def adapted(whole: StepTables, share: Share | None) -> StepTables:
            table = adapter_table(priced.graph, priced.machine, priced.dims, engines.adapter_rank, most, share)
            return dataclasses.replace(whole, adapters=table)

        stages = tuple(adapted(s, share) for s, share in zip(stages, priced.shares, strict=True))
        tables = adapted(tables, None)
    room = capacity_of(
        priced,
        block_size=block,
        max_seqs=engines.max_seqs,
        token_budget=engines.token_budget,
        kv_blocks=engines.kv_blocks,
    )
    if engines.kv_share < 1.0:
        room = dataclasses.replace(room, kv_blocks=max(int(room.kv_blocks * engines.kv_share), 1))
    kept = priced.kv_bytes * (1 + priced.window_share) * block
    seconds = 0.0
    if engines.swap_bytes and kept > 0:
        room = dataclasses.replace(room, swap_blocks=int(engines.swap_bytes // kept))
        seconds = _swap_seconds(priced.machine, kept, engines.swap_copies)
    return Pool(
        tables, policy, room, replicas, ranks=engines.attention_dp, devices=int(priced.layout.world),
        speculation=Speculation(engines.drafted, engines.acceptance), adapter_slots=engines.adapter_slots,
        adapter_seconds=engines.adapter_seconds, swap_seconds=seconds, stages=stages,
    )  # fmt: skip


def _swap_seconds(machine: Machine, moved: float, copies: int) -> float:
    """Seconds of a block's way to host memory in so many copies: each waits for the link's latency once.

    Raises:
        BadInput: for a machine without a link to its host.
    """
    link = next((k for k in machine.links if k.role == "host"), None)
    if link is None:
        raise BadInput(f"{machine.id} states no link to its host", expected="a link of role host, or no swapping")
    return float(moved / link.bandwidth + copies * link.latency_s)


def _prompting(scenario: Scenario, engines: Engines) -> Scenario:
    """The question about engines that run prompts only; the same object where they are like the others."""
    if engines.prefill_machine:
        scenario = scenario.replace(machine=engines.prefill_machine)
    if engines.prefill_tp:
        scenario = scenario.with_program(parallel=dataclasses.replace(scenario.program.parallel, tp=engines.prefill_tp))
    return scenario


# Stacks that have no scheduler: their batches run to the end.
WITHOUT = ("fastertransformer", "transformers-generate", "deepspeed-inference")


def scheduler(engines: Engines, stack: str) -> Policy:
    """The policy of engines of a stack (``name`` or ``name@version``), rules changed as asked.

    Raises:
        UnknownName: no such policy. BadInput: a rule no policy has.
    """
    base = stack.split("@")[0]
    own = "static" if base in WITHOUT else stack if base in {p.name for p in policies()} else "vllm"
    return changed(policy_named(engines.policy or own), engines.rules)
