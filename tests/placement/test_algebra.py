"""States of a tensor on a mesh axis: which message takes one to another, and what ZeRO's stages exchange."""

from __future__ import annotations

import itertools

import pytest

from speedlight.costs.collective import traffic
from speedlight.placement.algebra import PARTIAL, SPLIT, STATES, WHOLE, message


@pytest.mark.parametrize(
    ("before", "after", "made"),
    [
        (PARTIAL, WHOLE, "all_reduce"), (PARTIAL, SPLIT, "reduce_scatter"), (SPLIT, WHOLE, "all_gather"),
        (WHOLE, SPLIT, None), (WHOLE, WHOLE, None), (SPLIT, SPLIT, None), (PARTIAL, PARTIAL, None),
    ],
)  # fmt: skip
def test_messages_between_states(before: str, after: str, made: str | None) -> None:
    assert message(before, after) == made


def test_split_along_another_dimension_goes_all_to_all() -> None:
    assert message(SPLIT, SPLIT, other_way=True) == "all_to_all"


def test_nobody_asks_for_terms_of_a_sum() -> None:
    for before in (WHOLE, SPLIT):
        with pytest.raises(ValueError, match="partial"):
            message(before, PARTIAL)
    with pytest.raises(ValueError, match="heap"):
        message("heap", WHOLE)


@pytest.mark.parametrize("ranks", [2, 8, 512])
def test_by_way_of_a_split_costs_what_the_direct_way_does(ranks: int) -> None:
    """Reduce-scatter then all-gather moves an all-reduce's bytes; ZeRO-1 and 2 so much, ZeRO-3 half as much again
    (arXiv 1910.02054 §7)."""
    both = traffic("reduce_scatter", ranks, 1.0) + traffic("all_gather", ranks, 1.0)
    assert both == pytest.approx(traffic("all_reduce", ranks, 1.0))
    sharded = both + traffic("all_gather", ranks, 1.0)
    assert sharded == pytest.approx(1.5 * both)


def test_every_pair_has_an_answer() -> None:
    for before, after in itertools.product(STATES, STATES):
        if after != PARTIAL or before == PARTIAL:
            message(before, after)
