"""Prefixes against SI; decimal and binary apart; formats by their published bits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput, UnknownName, nearest
from speedlight._foundation.formats import FORMATS, bytes_per_element, multiply_format, number_format
from speedlight._foundation.quantity import BINARY, DECIMAL, format_bytes, format_si, format_time, parse_quantity


def test_decimal_prefixes_are_si() -> None:
    assert {k: v for k, v in DECIMAL.items() if k not in ("", "K")} == {
        "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    }  # fmt: skip


def test_binary_prefixes_are_powers_of_1024() -> None:
    assert [math.log2(v) for v in BINARY.values()] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("80 GB", "B", 80e9), ("80GiB", "B", 80 * 2**30), ("3.35 TB/s", "B/s", 3.35e12), ("4.5ms", "s", 4.5e-3),
     ("2 us", "s", 2e-6), ("700", "W", 700), (1e12, "FLOP/s", 1e12), ("1.83 GHz", "Hz", 1.83e9), ("0.9", "", 0.9)],
)  # fmt: skip
def test_quantities_read_as_si(text: object, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == pytest.approx(value, rel=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "GB", "80 XB", "80 GB/s", "nan", "inf", "1e999", "eighty", "80 80 GB", None, True]
)
def test_nonsense_is_refused(text: object) -> None:
    with pytest.raises(BadInput):
        parse_quantity(text, "B")  # type: ignore[arg-type]


@given(st.floats(1e-9, 1e4))
def test_times_print_close_to_what_they_are(seconds: float) -> None:
    number, unit = format_time(seconds, 4).replace(",", "").split()
    factor = {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]
    assert float(number) * factor == pytest.approx(seconds, rel=1e-3)


def test_memory_prints_binary_and_rates_decimal() -> None:
    assert format_bytes(80e9) == "74.5 GiB"
    assert format_si(3.35e12, "B/s") == "3.35 TB/s"
    assert format_si(989.4e12, "FLOP/s") == "989 TFLOP/s"
    assert format_bytes(None) == "–"
    assert format_time(float("nan")) == "–"


def test_block_formats_count_their_scales() -> None:
    assert bytes_per_element("mxfp4") * 8 == 4.25
    assert bytes_per_element("nvfp4") * 8 == 4.5
    assert bytes_per_element("fp8_block") * 8 == pytest.approx(8 + 32 / 128**2)


def test_weight_only_formats_multiply_in_the_activations_format() -> None:
    assert multiply_format("int4", "bf16") == "bf16"
    assert multiply_format("fp8_block", "fp8") == "fp8"
    assert multiply_format("nvfp4", "nvfp4") == "fp4"


def test_names_and_aliases_resolve_and_others_suggest() -> None:
    assert number_format("torch.bfloat16").name == "bf16"
    assert all(number_format(n).name == n for n in FORMATS)
    with pytest.raises(UnknownName) as caught:
        number_format("bf61")
    assert "bf16" in caught.value.hint
    assert nearest("h100-sxm", ["h100-sxm-80gb", "a100-sxm-80gb"])[0] == "h100-sxm-80gb"
