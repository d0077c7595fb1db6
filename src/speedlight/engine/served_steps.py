"""Step times and room of an engine for the serving simulator, from whole steps that the engine prices in two calls.

A decode step of n sequences with almost no context costs its tokens; what a context adds is attention of decoding. A prefill of
many short prompts costs its tokens; what the same tokens cost more as one prompt is attention of prompts. Thus the three tables
of :class:`speedlight.serving.steps.StepTables` follow from totals alone, for any model, stack and layout that ``explain`` takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._foundation.errors import BadInput
from .._foundation.provenance import Assumption
from ..scenario.scenario import Scenario
from ..serving.steps import Capacity, StepTables, Table
from .predict import predict
from .prediction import Prediction

SEQUENCES = np.array([1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024.0])
CONTEXTS = np.array([1, 64, 256, 1024, 4096, 16384, 65536.0])
SHORT = 16.0  # tokens of the prompts whose attention is nothing beside their projections
LENGTHS = np.array([16, 64, 128, 256, 512, 1024, 1536, 2048, 3072, 4096, 8192, 16384, 32768, 131072.0])


@dataclass(frozen=True)
class Served:
    """What the simulator needs of an engine, and what it rests on.

    Attributes:
        tables: step times.
        kv_bytes: bytes a token keeps on each device of an engine.
        free: bytes for keys and values on the fullest device.
        window: tokens of sliding layers, 0 for none; ``window_share``: bytes of theirs per byte of the others.
        fixed: bytes that a sequence keeps whatever its length.
        facts: the decode prediction (model, machine, memory).
        assumptions: of the tables and of the room.
    """

    tables: StepTables
    kv_bytes: float
    free: float
    window: int
    window_share: float
    fixed: float
    facts: Prediction
    assumptions: tuple[Assumption, ...]


def served(scenario: Scenario, token_budget: int = 8192) -> Served:
    """Price an engine's steps.

    Args:
        scenario: model, machine, layout, formats and stack; its sizes are not read.
        token_budget: new tokens of a step at most: activations of so many are set aside.

    Raises:
        BadInput: where the model generates no tokens or its weights leave no room.
    """
    scalar = predict(scenario.with_workload(phase="decode", batch=1, context=1024, groups=()))
    if scalar.model.get("kv_bytes_per_token") is None:
        raise BadInput(f"{scalar.model.get('id')} generates no tokens", expected="a model that decodes")
    decode = predict(
        scenario.with_workload(phase="decode", batch=SEQUENCES[:, None], context=CONTEXTS[None, :], groups=()),
        details=False,
    )
    count = LENGTHS / SHORT
    short = predict(scenario.with_workload(phase="prefill", batch=count, isl=SHORT, groups=()), details=False)
    whole = predict(scenario.with_workload(phase="prefill", batch=1, isl=LENGTHS, groups=()), details=False)
    seconds = np.asarray(decode.time, float)
    tables = StepTables(
        tokens=_by_tokens(seconds[:, 0], np.asarray(short.time, float)),
        decode=Table(SEQUENCES, CONTEXTS, np.maximum(seconds - seconds[:, :1], 0.0)),
        prefill=_prefill(np.maximum(np.asarray(whole.time, float) - np.asarray(short.time, float), 0.0)),
    )
    kept = np.asarray(decode.memory.by_class["kv"], float)
    activations = float(
        np.interp(token_budget, LENGTHS, np.broadcast_to(whole.memory.by_class["activations"], LENGTHS.shape))
    )
    total = sum(float(v) for k, v in scalar.memory.by_class.items() if k not in ("kv", "activations"))
    free = float(scalar.memory.capacity) - total - activations
    late, early = (
        (kept[0, -1] - kept[0, -2]) / (CONTEXTS[-1] - CONTEXTS[-2]),
        (kept[0, 1] - kept[0, 0]) / (CONTEXTS[1] - CONTEXTS[0]),
    )
    share = (early - late) / late if late > 0 else 0.0
    window = 0
    if share > 1e-6:  # where the two slopes meet
        window = round((kept[0, -1] - late * CONTEXTS[-1] - (kept[0, 0] - early * CONTEXTS[0])) / (early - late))
    notes = (
        Assumption(
            "step times", "tokens + decode attention + prefill attention", "derived", "two sweeps of whole steps"
        ),
        Assumption(
            "memory for keys and values", free, "derived", "capacity − weights − reserves − activations of one step"
        ),
    )
    if free <= 0:
        raise BadInput(
            f"{scalar.model.get('id')} leaves no memory for keys and values on {scalar.machine.get('id')}",
            expected="room beside the weights", hint="more devices (--tp), fewer bits (--weights fp8)",
        )  # fmt: skip
    return Served(
        tables, late or early, free, window, share, max(kept[0, 0] - early * (CONTEXTS[0] + 1), 0.0), scalar,
        (*scalar.assumptions, *notes),
    )  # fmt: skip


def _by_tokens(few: np.ndarray, many: np.ndarray) -> Table:
    """Seconds over tokens: of decode steps up to their largest number, of short prompts beyond; never falling.

    Rows of logits are those of such steps (one a sequence, one per 16 tokens): no axis of their own.
    """
    beyond = SEQUENCES[-1] < LENGTHS
    tokens = np.concatenate([SEQUENCES, LENGTHS[beyond]])
    seconds = np.maximum.accumulate(np.concatenate([few, many[beyond]]))
    return Table(tokens, np.array([0.0, 1.0]), np.repeat(seconds[:, None], 2, axis=1))


def _prefill(extra: np.ndarray) -> Table:
    """Attention of prompts over (tokens, keys a token): a prompt of n tokens has (n + 1) / 2 keys a token on average.

    Seconds per pair are those of the whole prompt with as many keys a token, so that pieces add up to the whole.
    """
    keys = (LENGTHS + 1) / 2
    per_token = extra / LENGTHS
    tokens = np.array([0.0, LENGTHS[-1]])
    return Table(tokens, np.concatenate([[0.0], keys]), tokens[:, None] * np.concatenate([[0.0], per_token])[None, :])


def capacity_of(
    engine: Served, *, block_size: int, max_seqs: int, token_budget: int, kv_blocks: int | None = None
) -> Capacity:
    """Blocks of an engine: what is free over what ``block_size`` tokens take."""
    full, sliding, fixed = 1, 0, 0
    if engine.kv_bytes <= 0:  # recurrent state alone: a block is a sequence's
        full, fixed, bytes_of_block = 0, 1, engine.fixed
    else:
        if engine.window_share >= 0.5:
            sliding = round(engine.window_share)
        elif engine.window:
            full, sliding = round(1 / engine.window_share), 1
        bytes_of_block = engine.kv_bytes * block_size / full
        fixed = int(-(-engine.fixed // bytes_of_block))
    blocks = int(engine.free // bytes_of_block) if kv_blocks is None else kv_blocks
    if blocks < 1:
        raise BadInput(
            "no block of keys and values fits", expected="room beside the weights", hint="more devices, fewer bits"
        )
    return Capacity(
        blocks, block_size, max_seqs, token_budget, full_groups=full, window_groups=sliding,
        window=engine.window if sliding else 0, fixed_blocks=fixed,
    )  # fmt: skip
