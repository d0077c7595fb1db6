"""What comes: requests with their times, lengths, adapters, shared beginnings and dependences."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._foundation.errors import BadInput

Value = Any
MOST_TOKENS = 100_000_000  # of one request; more is a broken trace


@dataclass(frozen=True)
class Requests:
    """A load, one row a request.

    Attributes:
        arrival: seconds at which each is sent, rising; infinite where it waits for others to end.
        prompt, output: tokens that come and tokens that are asked for.
        adapter: its low-rank adapter, 0 for none.
        chain_at, chain: what its prompt begins with, as links: request i has ``chain[chain_at[i]:chain_at[i + 1]]``, each
            standing for ``link_tokens`` tokens; equal links in front of a chain mean an equal beginning.
        link_tokens: tokens of a link; 0 where nothing is shared.
        child_at, child, delay: requests that are sent ``delay`` seconds after this one (and every other parent) has ended.
        clients: of a closed loop: so many send at once and each sends its next request when its last one ended; 0 for an open one.
        think: seconds a client of a closed loop waits.
        notes: what a reader or a generator assumed or repaired.
    """

    arrival: np.ndarray
    prompt: np.ndarray
    output: np.ndarray
    adapter: np.ndarray | None = None
    chain_at: np.ndarray | None = None
    chain: np.ndarray | None = None
    link_tokens: int = 0
    child_at: np.ndarray | None = None
    child: np.ndarray | None = None
    delay: np.ndarray | None = None
    clients: int = 0
    think: float = 0.0
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        count = len(self.arrival)
        if count == 0:
            raise BadInput("no requests", expected="at least one")
        for name in ("prompt", "output"):
            values = getattr(self, name)
            if len(values) != count:
                raise BadInput(f"{len(values)} {name} lengths for {count} arrivals", expected="one each")
            if np.any(values < 1) or np.any(values > MOST_TOKENS):
                raise BadInput(
                    f"{name} tokens from {values.min()} to {values.max()}", expected=f"1 to {MOST_TOKENS:,} a request"
                )
        if np.any(np.isnan(self.arrival)) or np.any(self.arrival < 0) or np.any(self.arrival[1:] < self.arrival[:-1]):
            raise BadInput("arrival times", expected="rising numbers from 0 on")

        if self.clients and self.child is not None:
            raise BadInput("a closed loop of dependent requests", expected="one of the two")

    def __len__(self) -> int:
        return len(self.arrival)

    def replace(self, **changes: Any) -> Requests:
        return replace(self, **changes)

    def repeated(self, times: int) -> Requests:
        """The same load again and again, each time after the last one's end (its mean gap in between)."""
        span = float(self.arrival[-1]) * (1 + 1 / max(len(self) - 1, 1))
        arrival = np.concatenate([self.arrival + k * span for k in range(times)])
        fields: dict[str, Any] = {
            "arrival": arrival,
            "prompt": np.tile(self.prompt, times),
            "output": np.tile(self.output, times),
        }
        if self.adapter is not None:
            fields["adapter"] = np.tile(self.adapter, times)
        if self.chain_at is not None and self.chain is not None:
            starts = [self.chain_at[:-1] + k * len(self.chain) for k in range(times)]
            fields["chain_at"] = np.concatenate([*starts, [times * len(self.chain)]])
            fields["chain"] = np.tile(self.chain, times)
        if self.child is not None:
            raise BadInput("a load with dependent requests is not repeated", expected="a longer trace")
        return replace(self, **fields)

    def at_rate(self, rate: float) -> Requests:
        """The same requests with their times stretched to a mean of ``rate`` requests a second."""
        return replace(self, arrival=self.arrival * (self.rate / rate))

    @property
    def rate(self) -> float:
        """Mean arrivals a second (infinite where all come at once)."""
        span = float(self.arrival[-1] - self.arrival[0])
        return (len(self) - 1) / span if span > 0 else float("inf")
