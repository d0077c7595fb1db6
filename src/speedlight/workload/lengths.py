"""Sequences of many lengths as the groups of a step: packed one behind the other, or padded to the longest.

Token-wise work sees Σ count · length, attention Σ count · length²: packing (with a mask between examples) keeps both as they are,
padding raises every sequence to the longest.
"""

from __future__ import annotations

from collections.abc import Iterable

from .._foundation.errors import BadInput
from .workload import Group


def packed(lengths: Iterable[tuple[float, float]]) -> tuple[Group, ...]:
    """A group for each length: (sequences, tokens of one).

    Raises:
        BadInput: for no sequence, or one without tokens.
    """
    return tuple(Group(count, tokens, 0) for count, tokens in _checked(lengths))


def padded(lengths: Iterable[tuple[float, float]]) -> tuple[Group, ...]:
    """All sequences as long as the longest.

    Raises:
        BadInput: as :func:`packed`.
    """
    pairs = _checked(lengths)
    return (Group(sum(count for count, _ in pairs), max(tokens for _, tokens in pairs), 0),)


def filled(lengths: Iterable[tuple[float, float]], capacity: float) -> tuple[int, float]:
    """(packs of ``capacity`` tokens, share of them that holds tokens) by first fit, longest first.

    Raises:
        BadInput: for a sequence longer than a pack.
    """
    pairs = _checked(lengths)
    if max(tokens for _, tokens in pairs) > capacity:
        raise BadInput(
            f"a sequence of {max(t for _, t in pairs):g} tokens", expected=f"at most the pack's {capacity:g}"
        )
    room: list[float] = []
    for count, tokens in sorted(pairs, key=lambda p: -p[1]):
        for _ in range(int(count)):
            place = next((i for i, left in enumerate(room) if left >= tokens), None)
            if place is None:
                room.append(capacity - tokens)
            else:
                room[place] -= tokens
    return len(room), sum(c * t for c, t in pairs) / (capacity * len(room))


def _checked(lengths: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    pairs = [(float(count), float(tokens)) for count, tokens in lengths]
    if not pairs or any(not (count >= 1 and tokens >= 1) for count, tokens in pairs):
        raise BadInput(f"lengths {pairs!r}", expected="(sequences, tokens) of at least one each")
    return pairs
