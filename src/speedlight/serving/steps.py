"""What a simulated engine asks: how long one step takes, and how much it may hold.

The simulator knows nothing of models and machines. Whoever does hands it a :class:`StepSource`: seconds of any step
(:class:`StepShape`), and the same in three tables (:class:`StepTables`) that a compiled loop can read, because a step adds
up from what its tokens cost (projections, experts, collectives, logits), what attention of the decoding sequences costs and
what attention of the prompts costs. Each part has at most two dimensions.

All amounts are those of **one attention rank**: with attention data-parallelism over R ranks a step of 8 tokens is 8 tokens
on each of the R ranks (the experts then see 8 R), and the simulator asks for the fullest rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from .._foundation.errors import BadInput

Value = Any  # float or numpy array


@dataclass(frozen=True, slots=True)
class StepShape:
    """One engine step, or an array of them: every field broadcasts.

    Attributes:
        tokens: new tokens of the step: those of prompts, and of each decoding sequence one, or 1 + the drafted ones.
        decodes: decoding sequences.
        decode_context: Σ over decoding sequences of the tokens cached before the step.
        max_context: the longest of those contexts. Tables leave it out: attention kernels split long sequences.
        prefill_pairs: Σ over prompt tokens of the keys each attends to (itself, earlier ones of its prompt, cached ones).
        adapters: distinct low-rank adapters among the sequences; 0 for the bare model.
        prompts: prompt pieces in the step; each asks for one row of logits.
        prefill_tokens: those of ``tokens`` that belong to prompts.
    """

    tokens: Value
    decodes: Value = 0
    decode_context: Value = 0
    max_context: Value = 0
    prefill_pairs: Value = 0
    adapters: Value = 0
    prompts: Value = 0
    prefill_tokens: Value = 0

    @property
    def rows(self) -> Value:
        """Rows of logits: of every token of a decoding sequence (a drafted one is verified by them), and one a prompt piece."""
        return np.asarray(self.tokens, float) - self.prefill_tokens + self.prompts

    @staticmethod
    def decode(sequences: Value, context: Value, drafted: Value = 0) -> StepShape:
        """A step of ``sequences`` decoding ones with ``context`` cached tokens each."""
        return StepShape(sequences * (1 + drafted), sequences, sequences * context, context)

    @staticmethod
    def prefill(prompts: Value, new: Value, cached: Value = 0) -> StepShape:
        """A step of ``prompts`` prompts with ``new`` tokens each on top of ``cached`` ones."""
        pairs = prompts * prefill_pairs(new, cached)
        return StepShape(prompts * new, prefill_pairs=pairs, prompts=prompts, prefill_tokens=prompts * new)


def prefill_pairs(new: Value, cached: Value) -> Value:
    """Query·key pairs of ``new`` causal tokens on top of ``cached`` ones: new · cached + new (new + 1) / 2."""
    return new * cached + new * (new + 1) / 2


@dataclass(frozen=True)
class Table:
    """Seconds over two axes, bilinear between points and linear on beyond the ends.

    Attributes:
        x, y: increasing points (at least two each); steps of a staircase are two points close together.
        seconds: array of shape (len(x), len(y)).
    """

    x: np.ndarray
    y: np.ndarray
    seconds: np.ndarray

    def __post_init__(self) -> None:
        for name in ("x", "y", "seconds"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.float64))
        for axis in (self.x, self.y):
            if axis.ndim != 1 or len(axis) < 2 or not np.all(np.diff(axis) > 0) or not np.all(np.isfinite(axis)):
                raise BadInput("an axis of a table of step times", expected="at least two increasing finite points")
        if self.seconds.shape != (len(self.x), len(self.y)) or not np.all(np.isfinite(self.seconds)):
            raise BadInput(
                f"a table of step times of shape {self.seconds.shape}",
                expected=f"finite seconds of shape {(len(self.x), len(self.y))}",
            )

    def __call__(self, x: Value, y: Value) -> np.ndarray:
        """Seconds at points, which broadcast."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        i = np.clip(np.searchsorted(self.x, x, side="right") - 1, 0, len(self.x) - 2)
        j = np.clip(np.searchsorted(self.y, y, side="right") - 1, 0, len(self.y) - 2)
        u = (x - self.x[i]) / (self.x[i + 1] - self.x[i])
        v = (y - self.y[j]) / (self.y[j + 1] - self.y[j])
        s = self.seconds
        low = s[i, j] + u * (s[i + 1, j] - s[i, j])
        high = s[i, j + 1] + u * (s[i + 1, j + 1] - s[i, j + 1])
        return np.asarray(np.maximum(low + v * (high - low), 0.0))


def tabulate(part: Callable[[np.ndarray, np.ndarray], Value], x: Value, y: Value) -> Table:
    """A table of ``part`` at the points of two axes, asked for in one call."""
    x, y = np.unique(np.asarray(x, float)), np.unique(np.asarray(y, float))
    grid = np.meshgrid(x, y, indexing="ij")
    return Table(x, y, np.broadcast_to(np.asarray(part(*grid), float), grid[0].shape))


ZERO = Table(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.zeros((2, 2)))


@dataclass(frozen=True, slots=True)
class HostTimes:
    """Seconds of the host; every figure an input with a source of its own, none hidden in a step.

    Attributes:
        step: per engine step: scheduling, preparing inputs, sampling, hops between processes.
        sequence: per sequence of a step, on top.
        request: from the client's send to the scheduler's queue: HTTP, tokeniser. Delays the first token only.
        prompt_token: of that, per prompt token.
        stream: from a step's end to the client: detokeniser, HTTP. Delays every token alike, so only the first one shows it.
    """

    step: float = 0.0
    sequence: float = 0.0
    request: float = 0.0
    prompt_token: float = 0.0
    stream: float = 0.0


@dataclass(frozen=True)
class StepTables:
    """Step times as the loop reads them: device seconds = tokens + decode + prefill + adapters.

    Attributes:
        tokens: over (new tokens, rows of logits, see :attr:`StepShape.rows`).
        decode: over (decoding sequences, mean cached context of one), each with as many queries as an engine that drafts verifies;
            with it whatever else grows with them, like drafting.
        prefill: over (prompt tokens, mean keys per prompt token = pairs / prompt tokens).
        adapters: over (distinct adapters, new tokens).
        host: seconds of the host.
    """

    tokens: Table
    decode: Table = ZERO
    prefill: Table = ZERO
    adapters: Table = ZERO
    host: HostTimes = HostTimes()

    def device_seconds(self, shape: StepShape) -> np.ndarray:
        """Seconds of the device for a step; parts that have no work cost nothing."""
        prefill = np.asarray(shape.prefill_tokens, float)
        decodes = np.asarray(shape.decodes, float)
        rows = shape.rows
        context = np.asarray(shape.decode_context, float) / np.maximum(decodes, 1.0)
        keys = np.asarray(shape.prefill_pairs, float) / np.maximum(prefill, 1.0)
        seconds = np.where(np.asarray(shape.tokens) > 0, self.tokens(shape.tokens, rows), 0.0)
        seconds = seconds + np.where(decodes > 0, self.decode(decodes, context), 0.0)
        seconds = seconds + np.where(prefill > 0, self.prefill(prefill, keys), 0.0)
        return seconds + np.where(np.asarray(shape.adapters) > 0, self.adapters(shape.adapters, shape.tokens), 0.0)

    def host_seconds(self, shape: StepShape) -> Value:
        """Seconds of the host for a step, whether or not a policy hides them."""
        return self.host.step + self.host.sequence * (np.asarray(shape.decodes) + shape.prompts)

    def step_time(self, shape: StepShape) -> np.ndarray:
        """Seconds of the device for a step (the protocol of :class:`StepSource`)."""
        return self.device_seconds(shape)


def summed(stages: Sequence[StepTables]) -> StepTables:
    """A pass through pipeline stages, whose tables have the same points."""
    return _joined(stages, lambda seconds: np.sum(seconds, axis=0))


def in_turns(stages: Sequence[StepTables]) -> StepTables:
    """A batch's step where as many like it as there are stages are in flight: the slowest stage, once for each.

    Part by part, so that a stage slowest by its attention and another slowest by its products count both.
    """
    return _joined(stages, lambda seconds: len(stages) * np.max(seconds, axis=0))


def _joined(stages: Sequence[StepTables], join: Callable[[list[np.ndarray]], np.ndarray]) -> StepTables:
    first = stages[0]

    def part(name: str) -> Table:
        own: Table = getattr(first, name)
        return Table(own.x, own.y, join([getattr(stage, name).seconds for stage in stages]))

    return StepTables(part("tokens"), part("decode"), part("prefill"), part("adapters"), first.host)


@dataclass(frozen=True, slots=True)
class Verifying:
    """Steps of an engine that drafts, asked for by its sequences: each has so many tokens more in a step, which cost what they do."""

    tables: StepTables
    drafted: int

    @property
    def host(self) -> HostTimes:
        return self.tables.host

    def step_time(self, shape: StepShape) -> np.ndarray:
        return self.tables.step_time(replace(shape, tokens=shape.tokens + np.asarray(shape.decodes) * self.drafted))


class Timed(Protocol):
    """Whoever knows how long a step takes."""

    def step_time(self, shape: StepShape) -> Value:
        """Device seconds of each step, evaluated directly."""


class StepSource(Timed, Protocol):
    """One who also tells it all at once."""

    def tables(self) -> StepTables:
        """The same, tabulated: ≤ 1 % off in the median and ≤ 3 % at most over the steps a run meets."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one attention rank of an engine may hold.

    Attributes:
        kv_blocks: blocks for keys and values (pages of one group of layers where groups differ).
        block_size: tokens a block holds.
        max_seqs: sequences that run at once.
        token_budget: new tokens of a step at most.
        full_groups: blocks that ``block_size`` tokens of a sequence take in layers that keep everything.
        window_groups, window: blocks that they take in layers of a sliding window, kept for the last ``window`` tokens only.
        fixed_blocks: blocks a sequence takes whatever its length (recurrent state).
        swap_blocks: blocks that fit in host memory, for preemption by swap.
        notes: what the figures rest on.
    """

    kv_blocks: int
    block_size: int = 16
    max_seqs: int = 256
    token_budget: int = 8192
    full_groups: int = 1
    window_groups: int = 0
    window: int = 0
    fixed_blocks: int = 0
    swap_blocks: int = 0
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("kv_blocks", "block_size", "max_seqs", "token_budget"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name.replace('_', ' ')} of {getattr(self, name)}", expected="at least 1")
        if self.window_groups and self.window < 1:
            raise BadInput("layers of a sliding window without a window", expected="window of at least 1 token")

    def blocks_of(self, tokens: Value) -> Value:
        """Blocks that a sequence of so many tokens holds."""
        pages = -(-np.asarray(tokens) // self.block_size)
        kept = np.minimum(pages, -(-self.window // self.block_size) + 1)
        return self.fixed_blocks + self.full_groups * pages + self.window_groups * kept
