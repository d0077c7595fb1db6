"""A closed loop of clients against one engine, as the steps it takes: who decodes, who prefills, whose first token comes when.

A fixed number of clients each send a request, wait for its last token, and send the next. What an engine's step holds then
depends on counts alone — a client comes back after so many *steps* — and not on how long steps take. So the composition of a
run is found first, exactly and once for all machines, and times are put on it afterwards: every mean latency is a sum of
step times with known weights, linear in whatever a step time is made of.

Runs of steps whose composition does not change are one record (contexts grow linearly inside it, so their mean counts).

Policies (what a step may hold), by engine:

* ``mixed``: decoding sequences first, then pieces of waiting prompts up to the token budget (vLLM's V1 scheduler with chunked
  prefill, TensorRT-LLM's in-flight batching where whole prompts are taken: ``chunked`` False).
* ``prefill_first``: while prompts wait, steps of prompts alone; else all sequences decode (SGLang without mixed chunks).
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .._foundation.errors import BadInput

ROUNDS = 10  # requests each client sends: the usual benchmark scripts ask for ten times the concurrency
POLICIES = ("mixed", "prefill_first")


@dataclass(frozen=True, slots=True)
class Loop:
    """What is run.

    Attributes:
        clients: requests in flight.
        prompt, output: longest lengths in tokens.
        spread: lengths are uniform between (1 − spread) of the longest and it; 0 for equal requests.
        budget: tokens of one step; ``chunked``: whether a prompt may be cut to fill it.
        policy: one of :data:`POLICIES`.
        most: sequences that may run at once.
        capacity: tokens the KV cache holds.
        whole: room for a request's last token is kept from its start (TensorRT-LLM's no-evict policy).
        rounds: requests of each client.
        seed: of the lengths.
    """

    clients: int
    prompt: int
    output: int
    spread: float = 0.0
    budget: int = 8192
    chunked: bool = True
    policy: str = "mixed"
    most: int = 1 << 30
    capacity: float = float("inf")
    whole: bool = False
    rounds: int = ROUNDS
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Composition:
    """Records of a run, in order, and where requests meet them.

    Attributes:
        steps: steps of each record.
        decoding: sequences that decode in each of them.
        context: mean tokens cached of a decoding sequence.
        prompts: prompt tokens.
        squares: Σ over prompt pieces of (tokens up to its end)² − (tokens before it)²: work of causal attention.
        finished: prompts whose first token the record gives.
        arrived, first, last: per request, number of records over when it came, had its first and its last token.
        outputs: per request, its output tokens.
    """

    steps: np.ndarray
    decoding: np.ndarray
    context: np.ndarray
    prompts: np.ndarray
    squares: np.ndarray
    finished: np.ndarray
    arrived: np.ndarray
    first: np.ndarray
    last: np.ndarray
    outputs: np.ndarray


def compose(loop: Loop) -> Composition:
    """The steps of a closed loop.

    Raises:
        BadInput: for sizes below one token, a policy nobody knows, or a cache no request fits.
    """
    if min(loop.clients, loop.prompt, loop.output, loop.budget, loop.most, loop.rounds) < 1:
        raise BadInput(f"a closed loop of {loop}", expected="at least one client, token and round")
    if loop.policy not in POLICIES:
        raise BadInput(f"the policy {loop.policy!r}", expected=" or ".join(POLICIES))
    return _composed(loop)


@lru_cache(maxsize=4096)
def _composed(loop: Loop) -> Composition:
    count = loop.rounds * loop.clients
    random = np.random.default_rng(loop.seed)
    prompts = _lengths(random, loop.prompt, loop.spread, count)
    outputs = _lengths(random, loop.output, loop.spread, count)
    run = _Run(loop, prompts.tolist(), outputs.tolist())
    run.play()
    records = np.array(run.records, dtype=float).reshape(-1, 6).T
    return Composition(
        records[0], records[1], records[2] / np.maximum(records[1], 1.0), records[3], records[4], records[5],
        np.array(run.arrived), np.array(run.first), np.array(run.last), outputs,
    )  # fmt: skip


def _lengths(random: np.random.Generator, longest: int, spread: float, count: int) -> np.ndarray:
    if spread == 0:
        return np.full(count, longest)
    return random.integers(max(int(longest * (1 - spread)), 1), longest + 1, count)


class _Run:
    """The state of a run between records."""

    def __init__(self, loop: Loop, prompts: list[int], outputs: list[int]) -> None:
        self.loop, self.prompts, self.outputs = loop, prompts, outputs
        count = len(prompts)
        self.records: list[tuple[float, ...]] = []
        self.arrived, self.first, self.last = [0] * count, [0] * count, [0] * count
        self.waiting = deque(range(min(loop.clients, count)))
        self.sent = len(self.waiting)
        self.coming: deque[tuple[int, int]] = deque()  # (step from which it waits, request)
        self.running: list[tuple[int, int]] = []  # heap of (decode step of its last token, request)
        self.partial: tuple[int, int] | None = None  # (request, tokens done)
        self.context = 0  # tokens cached of all decoding sequences
        self.held = 0.0  # tokens of the cache that are spoken for
        self.step = 0
        self.decoded = 0  # decode steps so far

    def play(self) -> None:
        while self.waiting or self.running or self.coming or self.partial is not None:
            while self.coming and self.coming[0][0] <= self.step:
                self.waiting.append(self.coming.popleft()[1])
            taken, squares, done = self._admit()
            if taken:
                self._prompt_step(taken, squares, done)
            elif self.running:
                self._decode_steps()
            else:
                self.step = self.coming[0][0]

    def _admit(self) -> tuple[int, float, list[int]]:
        """Prompt tokens of the next step, their attention work, and whose prompts end in it."""
        loop = self.loop
        room = loop.budget - (len(self.running) if loop.policy == "mixed" else 0)
        taken, squares, done = 0, 0.0, []
        if self.partial is not None and room > 0:
            request, before = self.partial
            piece = min(self.prompts[request] - before, room)
            taken, squares, room = piece, float((before + piece) ** 2 - before**2), room - piece
            self.partial = (request, before + piece)
            if before + piece == self.prompts[request]:
                done.append(request)
                self.partial = None
        while self.waiting and self.partial is None and room > 0:
            request = self.waiting[0]
            busy = len(self.running) + len(done)
            size = self.prompts[request]
            if busy >= loop.most or (busy and self.held + self._room_for(request) > loop.capacity):
                break
            piece = min(size, room)
            if piece < size and not loop.chunked:
                if taken:
                    break
                piece = size  # longer than any step: it runs alone
            self.waiting.popleft()
            self.held += self._room_for(request)
            taken, squares, room = taken + piece, squares + float(piece**2), room - piece
            if piece == size:
                done.append(request)
            else:
                self.partial = (request, piece)
        return taken, squares, done

    def _room_for(self, request: int) -> float:
        """Cached tokens a request counts for: all it will have, or what it has on average."""
        return self.prompts[request] + self.outputs[request] * (1.0 if self.loop.whole else 0.5)

    def _prompt_step(self, taken: int, squares: float, done: list[int]) -> None:
        decoding = len(self.running) if self.loop.policy == "mixed" else 0
        self.records.append((1, decoding, self.context if decoding else 0, taken, squares, len(done)))
        if decoding:
            self.context += decoding
            self.decoded += 1
        self.step += 1
        for request in done:
            self.first[request] = len(self.records)
            heapq.heappush(self.running, (self.decoded + self.outputs[request] - 1, request))
            self.context += self.prompts[request] + 1
        self._retire()

    def _decode_steps(self) -> None:
        """Decode until the next sequence ends or the next request comes."""
        count = self.running[0][0] - self.decoded
        if self.coming:
            count = min(count, self.coming[0][0] - self.step)
        count = max(count, 1)
        decoding = len(self.running)
        self.records.append((count, decoding, self.context + decoding * (count - 1) / 2, 0, 0.0, 0))
        self.context += decoding * count
        self.decoded += count
        self.step += count
        self._retire()

    def _retire(self) -> None:
        """Sequences that had their last token leave; their clients send the next request, which misses one step."""
        while self.running and self.running[0][0] <= self.decoded:
            request = heapq.heappop(self.running)[1]
            self.context -= self.prompts[request] + self.outputs[request]
            self.held -= self._room_for(request)
            self.last[request] = len(self.records)
            if self.sent < len(self.prompts):
                self.arrived[self.sent] = len(self.records)
                self.coming.append((self.step + 1, self.sent))
                self.sent += 1
