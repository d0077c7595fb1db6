"""Step times of a scenario's engine, as a serving simulator asks for them (:class:`speedlight.serving.steps.StepSource`).

A step's device time is the sum of what its tokens cost (projections, experts, messages, norms, rows of logits), of attention
of the decoding sequences and of attention of the prompts, each bent as its engine and architecture do
(:mod:`.serving_fit`). :meth:`EngineSteps.step_time` prices every step asked for; :meth:`EngineSteps.tables` prices the points
of three grids once, which a compiled loop then interpolates.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...placement.serving import Layout, check
from ...serving.steps import HostTimes, StepShape, StepTables, Table, tabulate
from ..questions.resolve import Resolved
from .part_grid import BY_TOKENS, FROM_PROMPTS, line
from .serving_fit import BASE, FREE, Bends, labels_of, shipped_bends
from .stages import Share, send_seconds
from .step_parts import Parts, decode_parts, prefill_parts, routed, width_of

Value = Any

TILE = 64  # rows of a product's tile: steps of many tokens are priced in whole ones
# Points of the tables: every number of tokens where steps are small, then both ends of each tile.
_TILES = np.arange(FROM_PROMPTS, 16384, TILE)
TOKENS = np.unique(np.concatenate([np.arange(1, FROM_PROMPTS + 1), _TILES + 1, _TILES + TILE]))
LENGTHS = np.unique(np.round(np.geomspace(1, 2**18, 64)))  # of prompts, whose attention is a line between these
ROWS = np.unique(np.concatenate([np.arange(0, 65), np.arange(64, 513, 16), np.arange(512, 2049, 128)])).astype(float)
SEQUENCES = np.unique(np.concatenate([np.arange(1, 33), np.arange(32, 257, 8), np.arange(256, 2049, 128)])).astype(
    float
)
CONTEXTS = np.unique(np.round(np.geomspace(16, 131072, 64)))
PIECES = np.unique(np.round(np.geomspace(1, 16384, 192)))
KEYS = np.unique(np.round(np.geomspace(1, 131072, 192)))


@dataclass(frozen=True)
class EngineSteps:
    """Where step times of one engine come from.

    Attributes:
        resolved: the scenario's model, machine and stack.
        layout: degrees of one engine.
        bends: how it differs from the sum of its kernels.
        labels: what the bends tell it by.
        share: what of every block runs here, on one of several pipeline stages; None for all of it.
        sends: whether what it computes goes on to another stage.
        drafted: tokens that a decoding sequence has verified in a step, beside its own.
    """

    resolved: Resolved
    layout: Layout = Layout()
    bends: Bends = field(default_factory=shipped_bends)
    labels: dict[str, str] = field(default_factory=dict)
    share: Share | None = None
    sends: bool = False
    drafted: int = 0

    def __post_init__(self) -> None:
        check(self.layout)
        if not self.labels:
            engine = ENGINES.get(self.resolved.stack.name, self.resolved.stack.name)
            object.__setattr__(self, "labels", labels_of(self.resolved.graph, self.resolved.machine, engine))

    def step_time(self, shape: StepShape) -> np.ndarray:
        """Device seconds of each step, every one priced."""
        tokens, rows, decodes, context, prompt, keys = np.broadcast_arrays(
            *(np.asarray(v, float) for v in (
                shape.tokens, shape.rows, shape.decodes,
                shape.decode_context / np.maximum(shape.decodes, 1), shape.prefill_tokens,
                shape.prefill_pairs / np.maximum(shape.prefill_tokens, 1),
            ))
        )  # fmt: skip
        seconds = np.where(tokens > 0, self.of_tokens(np.maximum(tokens, 1), rows), 0.0)
        seconds = seconds + np.where(decodes > 0, self.of_decoding(np.maximum(decodes, 1), context), 0.0)
        return np.asarray(
            seconds + np.where(prompt > 0, self.of_prompts(np.maximum(prompt, 1), np.maximum(keys, 1)), 0.0)
        )

    def tables(self) -> StepTables:
        """The same in tables."""
        by_tokens = self.of_tokens(TOKENS[:, None], ROWS[None, :])
        return StepTables(
            tokens=Table(TOKENS, ROWS, by_tokens),
            decode=tabulate(self.of_decoding, SEQUENCES, CONTEXTS),
            prefill=tabulate(self.of_prompts, PIECES, KEYS),
            host=self.host(),
        )

    def host(self) -> HostTimes:
        """Seconds of the host by the fit: a step's, a sequence's share, and a request's way in and out."""
        at = {c: BASE[c] * self.bends.factor(c, {**self.labels, "client": "bench"}) for c in BASE if c not in FREE}
        return HostTimes(step=at["steps"], sequence=at["sequences"], request=at["constant"])

    def of_tokens(self, tokens: Value, rows: Value) -> np.ndarray:
        """Seconds that depend on tokens and on rows of logits; steps of many tokens are priced as prompts'."""
        many = np.asarray(tokens, float)
        decoding = self._decoding(np.minimum(many, FROM_PROMPTS))
        few = self._bent(decoding, BY_TOKENS)
        least = 0.5 * few  # whatever a launch hides behind, its kernel runs
        few = np.maximum(few + decoding.launches * self._free("gaps"), least) + self._routing()
        tiles = np.ceil(np.maximum(many, FROM_PROMPTS) / TILE) * TILE
        lots = self._bent(self._prompting(tiles), BY_TOKENS, "+") + self._routing()
        head = self._bent(self._decoding(np.maximum(np.asarray(rows, float), 1.0)), ("head",))
        seconds = np.where(many <= FROM_PROMPTS, few, lots) + np.where(np.asarray(rows) > 0, head, 0.0)
        if self.sends:
            seconds = seconds + send_seconds(self.resolved, self.layout, many, width_of(self.resolved))
        return seconds

    def of_decoding(self, sequences: Value, context: Value) -> np.ndarray:
        """Seconds of attention of so many sequences with so many cached tokens each, 1 + ``drafted`` queries a sequence."""
        parts = decode_parts(self.resolved, self.layout, sequences, context, self.share, 1 + self.drafted)
        return self._bent(parts, ("decode",))

    def of_prompts(self, tokens: Value, keys: Value) -> np.ndarray:
        """Seconds of attention of prompt pieces: ``tokens`` in all, each attending to ``keys`` on average.

        Whole prompts, side by side, where keys are no more than half the tokens; else one piece on top of cached tokens,
        which costs what its prompt costs up to its end more than up to its start, and kernels of its own.
        """
        whole = np.maximum(np.minimum(2 * keys - 1, tokens), 1.0)
        cached = np.maximum(keys - (tokens + 1) / 2, 0.0)
        one = self._attention(np.ones_like(LENGTHS), LENGTHS)
        start = line(np.maximum(cached, 1.0), LENGTHS, one) - one[0]  # all but its launches
        rest = np.maximum(line(tokens + cached, LENGTHS, one) - start, 0.0)
        many = tokens / whole
        beside = self._attention(many, whole) if np.any(many > 1) else rest
        return np.where((cached > 0) | (many <= 1), rest, beside)

    def _free(self, column: str) -> float:
        """Seconds of a column that is nothing before fitting."""
        return BASE[column] * (self.bends.factor(column, self.labels) - 1.0)

    def _routing(self) -> float:
        return routed(self.resolved.graph, self.share)[0] * self._free("routing")

    def _attention(self, count: Value, length: Value) -> np.ndarray:
        return self._bent(prefill_parts(self.resolved, self.layout, count, length, self.share), ("prefill",))

    def _decoding(self, sequences: np.ndarray) -> Parts:
        return decode_parts(self.resolved, self.layout, sequences, np.full_like(sequences, 1024.0), self.share)

    def _prompting(self, tokens: np.ndarray) -> Parts:
        return prefill_parts(self.resolved, self.layout, np.ones_like(tokens), tokens, self.share)

    def _bent(self, parts: Parts, sorts: tuple[str, ...], regime: str = "") -> np.ndarray:
        bent = [parts.seconds[sort] * self.bends.factor(sort + regime, self.labels) for sort in sorts]
        return np.asarray(sum(bent[1:], bent[0]))


def staged(whole: EngineSteps, shares: tuple[Share, ...]) -> tuple[StepTables, ...]:
    """Tables of each stage, in order; stages alike are priced once."""
    found: list[StepTables] = []
    for number, share in enumerate(shares):
        sends = number + 1 < len(shares)
        same = [n for n in range(number) if shares[n] == share and sends]
        found.append(found[same[0]] if same else dataclasses.replace(whole, share=share, sends=sends).tables())
    return tuple(found)


# Our stacks → engines as the fit names them.
ENGINES = {"tensorrt-llm": "trtllm"}
