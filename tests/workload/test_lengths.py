"""Many lengths in one step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.workload.lengths import filled, packed, padded

lengths = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 512)), min_size=1, max_size=8)


@given(lengths)
def test_packing_keeps_tokens_and_pairs_padding_raises_both(pairs: list[tuple[int, int]]) -> None:
    tight, loose = packed(pairs), padded(pairs)
    for power in (1, 2):
        kept = sum(c * t**power for c, t in pairs)
        assert sum(g.count * g.new**power for g in tight) == kept
        assert sum(g.count * g.new**power for g in loose) >= kept


@given(lengths)
def test_packs_hold_what_they_are_given(pairs: list[tuple[int, int]]) -> None:
    packs, share = filled(pairs, 512)
    tokens = sum(c * t for c, t in pairs)
    assert packs >= -(-tokens // 512)
    assert 0 < share <= 1
    assert share * packs * 512 == pytest.approx(tokens)
    assert packs <= 2 * -(-tokens // 512)  # first fit never leaves two packs less than half full


@pytest.mark.parametrize("pairs", [[], [(0, 5)], [(3, 0)], [(1, float("nan"))]])
def test_no_sequences_are_refused(pairs: list[tuple[float, float]]) -> None:
    with pytest.raises(BadInput):
        packed(pairs)


def test_a_sequence_too_long_for_a_pack_is_refused() -> None:
    with pytest.raises(BadInput):
        filled([(1, 513)], 512)
