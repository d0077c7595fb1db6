"""Formats named by rule: fewer bits than the values have, and two of every four left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import UnknownName
from speedlight._foundation.formats import (
    FORMATS,
    bytes_per_element,
    dense_of,
    is_format,
    multiply_format,
    number_format,
    packed,
)


@pytest.mark.parametrize(
    ("fmt", "of_four"),
    [("fp32", 68), ("fp16", 36), ("bf16", 36), ("int8", 20), ("int4_values", 10)],
)
def test_two_of_four_cost_their_places(fmt: str, of_four: int) -> None:
    """Four weights: two values and the places of both (DESIGN's trap: 20 and 10 bits, 6.4 and 12.8 times less than 128)."""
    assert number_format(fmt + "_2of4").bits * 4 == of_four


@given(st.sampled_from(sorted(FORMATS)), st.floats(0.1, 64))
def test_a_packed_format_keeps_its_values(fmt: str, bits: float) -> None:
    name = packed(fmt, bits)
    found = number_format(name)
    assert is_format(found.name)
    assert found.bits == pytest.approx(bits, rel=1e-9)
    assert found.compute == FORMATS[fmt].compute
    assert dense_of(name) == fmt


@given(st.sampled_from(sorted(FORMATS)))
def test_leaving_out_half_never_takes_more(fmt: str) -> None:
    if FORMATS[fmt].native_bits >= 2:
        assert bytes_per_element(fmt + "_2of4") <= bytes_per_element(fmt)


def test_what_is_multiplied() -> None:
    assert multiply_format("bf16~11", "bf16") == "bf16"
    assert multiply_format("int4_2of4", "bf16") == "bf16_2of4"
    assert multiply_format("int8_2of4", "int8") == "int8_2of4"
    assert multiply_format("fp8", "fp8_2of4") == "fp8_2of4"


@pytest.mark.parametrize("name", ["bf16~", "bf16~0", "bf16~65", "nothing~4", "nothing_2of4", "bf16~x"])
def test_nonsense_is_refused(name: str) -> None:
    with pytest.raises(UnknownName):
        number_format(name)
