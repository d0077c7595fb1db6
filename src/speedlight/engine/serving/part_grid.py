"""Parts of step times on a grid, for many layouts of one model on one machine in two calls of the engine.

Parts that see tokens are looked up over their number, attention of decoding sequences over their number and context, attention
of prompts over a prompt's length: a piece of a prompt costs what the longer prompt costs more than the shorter one, so that
pieces add up to the whole whatever the chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...placement.serving import Layout, dims_of
from ...workload.workload import Step, decode_step
from ..questions.resolve import Resolved, plan
from ..steps.evaluate import sizes_of
from .step_parts import SORTS, decode_parts, prefill_parts, routed

SEQUENCES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048.0])
CONTEXTS = np.array([64, 512, 1024, 2048, 4096, 8192, 16384, 65536.0])
LENGTHS = np.array(
    [8, 16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 32768.0]
)
BY_TOKENS = ("gemm", "moe", "comm", "stream")
FROM_PROMPTS = 512.0  # tokens from which a step is priced as one of prompts


@dataclass(frozen=True)
class PartGrid:
    """Parts of the steps of several layouts (first axis of every array).

    Attributes:
        tokens: numbers of tokens of ``by_tokens``.
        by_tokens: sort → (layouts, tokens) seconds.
        head: (layouts, sequences) seconds of rows of logits.
        decode: (layouts, sequences, contexts) seconds.
        prefill: (layouts, lengths) seconds of one prompt's attention.
        launches: kernels of a step with prompts; ``captured``: of one that only decodes.
        routed: layers of experts.
        weights: bytes on a rank; ``cached``: bytes a cached token takes there; ``capacity``: bytes of its memory.
        least: sort of phase → (layouts, lengths or contexts) least seconds of a step of one sequence.
    """

    tokens: np.ndarray
    by_tokens: Mapping[str, np.ndarray]
    head: np.ndarray
    decode: np.ndarray
    prefill: np.ndarray
    launches: np.ndarray
    captured: np.ndarray
    routed: float
    weights: np.ndarray
    cached: np.ndarray
    capacity: float
    least: Mapping[str, np.ndarray]

    def parts(
        self, layout: int, tokens: np.ndarray, rows: np.ndarray, decoding: np.ndarray, context: np.ndarray,
        squares: np.ndarray, length: float,
    ) -> np.ndarray:  # fmt: skip
        """Seconds of steps of one layout by sort (:data:`.step_parts.SORTS`), last axis.

        Args:
            tokens, rows, decoding, context: of the step, its logits, its decoding sequences (their mean).
            squares: Σ over prompt pieces of (end² − start²); ``length``: tokens of a usual prompt.
        """
        found = np.zeros((*np.shape(tokens), len(SORTS)))
        for sort in BY_TOKENS:
            found[..., SORTS.index(sort)] = line(tokens, self.tokens, self.by_tokens[sort][layout])
        found[..., SORTS.index("head")] = line(rows, SEQUENCES, self.head[layout])
        busy = decoding > 0
        attention = surface(decoding, context, SEQUENCES, CONTEXTS, self.decode[layout])
        found[..., SORTS.index("decode")] = np.where(busy, attention, 0.0)
        whole = line(np.asarray(length), LENGTHS, self.prefill[layout])
        found[..., SORTS.index("prefill")] = squares / float(length) ** 2 * whole
        return np.maximum(found, 0.0)


def grid(resolved: Resolved, layouts: Sequence[Layout]) -> PartGrid:
    """Price all nodes of all layouts: one decode step and one prefill step of arrays."""
    columns = np.array([(g.tp, g.adp, g.moe_tp, g.moe_ep, g.pp) for g in layouts], dtype=float).T
    many = len(layouts)
    three, two, one = (Layout(*(c.reshape(-1, *[1] * n) for c in columns)) for n in (2, 1, 0))
    steps = decode_parts(resolved, three, SEQUENCES[:, None], CONTEXTS)
    prompts = prefill_parts(resolved, two, np.ones_like(LENGTHS), LENGTHS)
    short, long = SEQUENCES[SEQUENCES < FROM_PROMPTS], LENGTHS[LENGTHS >= FROM_PROMPTS]
    by_tokens = {}
    for sort in BY_TOKENS:
        few = np.broadcast_to(steps.seconds[sort], (many, len(SEQUENCES), len(CONTEXTS)))[:, : len(short), 2]
        lots = np.broadcast_to(prompts.seconds[sort], (many, len(LENGTHS)))[:, -len(long) :]
        by_tokens[sort] = np.concatenate([few, lots], axis=1)
    made = plan(resolved.graph, resolved.stack, None)
    dims = dims_of(resolved.graph, one)
    weights, cached = [], []
    for sequences in (1.0, 2.0):
        step = _held(sequences)
        ledger = sizes_of(made, step, resolved.machine, resolved.stack, dims, {})[2]
        weights.append(np.broadcast_to(ledger.by_class["weights"], (many,)))
        cached.append(np.broadcast_to(ledger.by_class["kv"], (many,)))
    return PartGrid(
        np.concatenate([short, long]), by_tokens,
        steps.seconds["head"][..., 2], np.asarray(steps.seconds["decode"]), np.asarray(prompts.seconds["prefill"]),
        np.asarray(prompts.launches)[:, 0], np.asarray(steps.launches)[:, 0, 0], routed(resolved.graph)[0], weights[0], (cached[1] - cached[0]) / (_CACHED + 1), resolved.machine.main.capacity_bytes,
        {"decode": np.asarray(steps.limit)[:, 0], "prefill": np.asarray(prompts.limit)},
    )  # fmt: skip


_CACHED = 1023.0


def _held(sequences: float) -> Step:
    return decode_step(np.array([sequences]), np.array([_CACHED]))


def line(x: np.ndarray, at: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Piecewise linear, going on straight beyond the ends (never below zero)."""
    place = np.clip(np.searchsorted(at, x, side="right") - 1, 0, len(at) - 2)
    share = (x - at[place]) / (at[place + 1] - at[place])
    share = np.maximum(share, 0.0)
    return np.asarray(seconds[place] + share * (seconds[place + 1] - seconds[place]))


def surface(x: np.ndarray, y: np.ndarray, at: np.ndarray, along: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Bilinear over two axes, going on straight beyond the ends."""
    i = np.clip(np.searchsorted(at, x, side="right") - 1, 0, len(at) - 2)
    j = np.clip(np.searchsorted(along, y, side="right") - 1, 0, len(along) - 2)
    u = np.maximum((x - at[i]) / (at[i + 1] - at[i]), 0.0)
    v = np.maximum((y - along[j]) / (along[j + 1] - along[j]), 0.0)
    low = seconds[i, j] + u * (seconds[i + 1, j] - seconds[i, j])
    high = seconds[i, j + 1] + u * (seconds[i + 1, j + 1] - seconds[i, j + 1])
    return np.asarray(low + v * (high - low))
