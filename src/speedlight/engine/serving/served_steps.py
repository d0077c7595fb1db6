"""What the serving simulator needs of a scenario's engine: step times, room for keys and values, and what both rest on.

Step times are :mod:`.step_times`, memory is :mod:`.engine_memory`; here they meet the simulator's blocks: layers with a sliding
window and recurrent layers hold other amounts than those that keep everything, and the blocks of each are counted apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._foundation.errors import BadInput, Unsupported
from ..._foundation.provenance import Assumption
from ...graph.ir import Graph
from ...hardware.machine import Machine
from ...placement.serving import Layout, check, dims_of, fits
from ...scenario.scenario import Scenario
from ...serving.steps import Capacity, StepTables, summed
from ...workload.workload import decode_step
from ..answers.prediction import Prediction
from ..predict import predict
from ..questions.resolve import Resolved, plan, resolve
from ..steps.evaluate import sizes_of
from .engine_memory import DEFAULT, EngineMemory, fullest
from .stages import Share, shares_of
from .stages import held as held_by
from .step_times import EngineSteps, staged

CONTEXTS = np.array([1.0, 64.0, 65536.0, 131072.0])  # two below any window, two above


# Degrees that no simulated engine has, and what there is instead.
UNREAD = (
    ("dp", "--replicas puts engines behind a router, --attention-dp replicates the attention within one"),
    ("cp", "--tp, --pp or --attention-dp"),
    ("zero", "--tp, --pp"),
    ("wires", "ask `explain` about one step"),
)


@dataclass(frozen=True)
class Served:
    """An engine as the simulator sees it.

    Attributes:
        tables: step times.
        layout: degrees of one engine; ``adp`` attention ranks step together.
        memory: of one rank, the fullest stage's.
        kv_bytes: bytes a token keeps on a rank for good; ``window_share``: bytes in sliding layers per byte of the others.
        window: tokens of sliding layers, 0 for none.
        fixed: bytes that a sequence keeps whatever its length.
        graph, machine, dims: the model, what one rank runs on, and its share of the model's dimensions.
        facts: the decode prediction (model, machine).
        assumptions: what times and room rest on.
        stages, shares: step times of each pipeline stage, and what it has of every block; empty for an engine of one.
    """

    tables: StepTables
    layout: Layout
    memory: EngineMemory
    kv_bytes: float
    window_share: float
    window: int
    fixed: float
    graph: Graph
    machine: Machine
    dims: Mapping[str, Any]
    facts: Prediction
    assumptions: tuple[Assumption, ...]
    stages: tuple[StepTables, ...] = ()
    shares: tuple[Share, ...] = ()


def served(scenario: Scenario, attention_dp: int = 1, utilisation: float = DEFAULT, drafted: int = 0) -> Served:
    """Step times and room of an engine.

    Args:
        scenario: model, machine, degrees (``ep`` within the ranks of a stage), formats and stack; its sizes are not read.
        attention_dp: replicas of the attention, each with requests of its own; the experts are shared.
        utilisation: the engine's share of memory.
        drafted: tokens that a decoding sequence has verified in a step, beside its own.

    Raises:
        BadInput: where the model generates no tokens, or the degrees do not divide it.
        Unsupported: for classes kept outside the device.
    """
    if scenario.program.workload.places:
        raise Unsupported("an engine that keeps classes outside the device is not simulated", expected="no --offload")
    if len(scenario.programs) > 1:
        raise Unsupported(
            "several programs on the devices of one engine are not simulated: engines that share a device take turns or parts "
            "of it as its driver decides, and no measurement here says which",
            expected="one program", hint="adapters of one model (--adapters), or each model on devices of its own",
        )  # fmt: skip
    degrees = scenario.program.parallel
    for name, instead in UNREAD:
        if getattr(degrees, name) not in (0, 1, ()):
            raise Unsupported(f"{name} of a served engine is not simulated", expected="tp, ep, pp", hint=instead)
    alone = dataclasses.replace(degrees, ep=1, dp=1)  # experts are the layout's, replicas the router's
    question = scenario.with_program(parallel=alone).with_workload(phase="decode", batch=1, context=1024, groups=())
    facts = predict(question)
    if facts.model.get("kv_bytes_per_token") is None:
        raise BadInput(f"{facts.model.get('id')} generates no tokens", expected="a model that decodes")
    resolved = resolve(question)
    ranks, experts = int(degrees.tp) * attention_dp, int(degrees.ep)
    if ranks % experts:
        raise BadInput(
            f"ep {experts} with tp {degrees.tp} × attention-dp {attention_dp}", expected="a divisor of the ranks"
        )
    layout = Layout(int(degrees.tp), attention_dp, ranks // experts, experts, int(degrees.pp))
    check(layout)
    if not bool(fits(resolved.graph, layout)):
        raise BadInput(
            f"{facts.model.get('id')} is not divided by {layout}", expected="degrees that divide heads and widths"
        )
    if layout.world > resolved.machine.n_devices > 1:
        raise BadInput(
            f"an engine of {layout.world} devices on {resolved.machine.id}",
            expected=f"at most {resolved.machine.n_devices}",
        )
    memory, tightest = fullest(resolved, layout, utilisation)
    kept, share, window, fixed = _kept(resolved, layout, tightest)
    steps = EngineSteps(resolved, layout, drafted=drafted)
    shares = shares_of(resolved, layout)
    stages = staged(steps, shares)
    header = steps.bends.header
    notes: tuple[Assumption, ...] = (
        Assumption("step times", "sum of parts, bent by engine", "fitted", f"serving fit of {header.get('date', 'unknown date')}"),
        Assumption("memory utilisation", utilisation, "published", "the engines' own default; --memory-utilisation"),
        Assumption("workspace", memory.workspace, "assumed", "bytes of activations, captured graphs, buffers"),
        Assumption("way of a request in and out", steps.host().request, "fitted", "HTTP, tokeniser, first hop"),
    )  # fmt: skip
    if stages:
        notes = (*notes, _of_stages(stages))
    return Served(
        summed(stages) if stages else steps.tables(), layout, memory, kept, share, window, fixed, resolved.graph, resolved.machine,
        dims_of(resolved.graph, layout), facts, (*notes, *facts.assumptions), stages, shares,
    )  # fmt: skip


def _of_stages(stages: tuple[StepTables, ...]) -> Assumption:
    """What is said of an engine's stages: how many, and what each takes of a step of one token."""
    seconds = np.array([float(stage.tokens(1, 1)) for stage in stages])
    each = ", ".join(f"{share:.0%}" for share in seconds / seconds.sum())
    return Assumption("pipeline stages", len(stages), "derived", f"a batch in flight each, requests dealt evenly; of a step of one token {each}")  # fmt: skip


def _kept(resolved: Resolved, layout: Layout, stage: Share | None) -> tuple[float, float, int, float]:
    """(bytes a token keeps, the same in sliding layers over it, their window, bytes of a sequence whatever its length)."""
    dims = {name: float(np.asarray(value)) for name, value in dims_of(resolved.graph, layout).items()}
    made = plan(resolved.graph, resolved.stack, None)
    step = decode_step(np.ones_like(CONTEXTS), CONTEXTS)
    if stage is None:
        kept = sizes_of(made, step, resolved.machine, resolved.stack, dims, {})[2].by_class["kv"]
    else:
        kept = held_by(resolved, layout, stage, step)[1]
    held = np.broadcast_to(np.asarray(kept, float), CONTEXTS.shape)
    early, late = (float(held[i + 1] - held[i]) / (CONTEXTS[i + 1] - CONTEXTS[i]) for i in (0, 2))
    start = float(held[0]) - early * (CONTEXTS[0] + 1)
    window = 0
    if late > 0 and early > late * (1 + 1e-6):  # where the two lines meet
        window = round((float(held[2]) - late * (CONTEXTS[2] + 1) - start) / (early - late))
    return late, (early - late) / late if late > 0 else 0.0, window, max(start, 0.0)


def capacity_of(
    engine: Served, *, block_size: int, max_seqs: int, token_budget: int, kv_blocks: int | None = None
) -> Capacity:
    """Blocks of one rank: what memory is left over what ``block_size`` tokens take.

    Raises:
        BadInput: where no block fits.
    """
    full, sliding, fixed = 1, 0, 0
    if engine.kv_bytes <= 0:  # recurrent state alone: a block is a sequence's
        full, fixed, bytes_of_block = 0, 1, max(engine.fixed, 1.0)
    else:
        if engine.window_share >= 0.5:
            sliding = round(engine.window_share)
        elif engine.window:
            full, sliding = round(1 / engine.window_share), 1
        bytes_of_block = engine.kv_bytes * block_size / full
        fixed = int(-(-engine.fixed // bytes_of_block))
    blocks = int(engine.memory.cache // bytes_of_block) if kv_blocks is None else kv_blocks
    if blocks < 1:
        raise BadInput(
            f"{engine.memory.weights / 1e9:.1f} GB of weights leave no room for keys and values",
            expected="room for one block", hint="more devices (--tp), fewer bits (--weights fp8)",
        )  # fmt: skip
    return Capacity(
        blocks, block_size, max_seqs, token_budget, full_groups=full, window_groups=sliding,
        window=engine.window if sliding else 0, fixed_blocks=fixed,
    )  # fmt: skip
