"""Clean text, shares and percentages, trees and figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.engine.answers.layers import call_of, steps_of
from speedlight.report import facts, theme, view, words
from speedlight.report.tree import tree, walk

from . import factory

finite = st.floats(min_value=0, max_value=1e300, allow_subnormal=False)


@given(st.lists(st.one_of(st.none(), finite, st.just(math.nan)), max_size=40))
def test_shares_sum_to_one_or_are_all_zero(values: list[float | None]) -> None:
    parts = view.shares(values)
    positive = any(v is not None and v > 0 for v in values)
    assert all(0 <= p <= 1 for p in parts)
    assert math.isclose(math.fsum(parts), 1.0 if positive else 0.0, abs_tol=1e-12)


@given(st.lists(st.floats(min_value=1e-9, max_value=1e9), min_size=1, max_size=200), st.integers(0, 2))
def test_printed_percentages_sum_to_exactly_100(values: list[float], digits: int) -> None:
    shown = view.percents(view.shares(values), digits)
    assert round(sum(float(p.split()[0]) for p in shown), 6) == 100.0


@given(st.text(max_size=300))
def test_clean_text_is_one_printable_line(raw: str) -> None:
    shown = view.clean(raw)
    assert len(shown) <= 160
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066\u2028" for c in shown)
    shown.encode("utf-8")  # lone surrogates would fail when a page is written


def test_rows_keep_their_order_and_share_the_whole() -> None:
    rows = view.rows_of(factory.prediction(factory.ops(50)))
    assert [r.index for r in rows] == list(range(50))
    assert math.isclose(math.fsum(r.share for r in rows), 1.0)


def test_folding_loses_nothing_and_never_folds_a_single_row() -> None:
    rows = view.rows_of(factory.prediction(factory.ops(50)))
    shown, rest = view.folded(rows, 10)
    assert rest is not None
    assert len(shown) == 10
    assert rest.members == 40
    assert math.isclose(math.fsum(r.time or 0 for r in shown) + (rest.time or 0), math.fsum(r.time or 0 for r in rows))
    assert view.folded(rows[:11], 10)[1] is None


def test_a_merged_row_takes_the_bound_with_most_time() -> None:
    rows = view.rows_of(
        factory.prediction(
            [
                factory.op("a", bound="hbm", time=3.0),
                factory.op("b", bound="matmul", time=2.0),
                factory.op("c", bound="matmul", time=2.0),
            ]
        )
    )
    assert view.merged(rows, "all").bound == "matmul"


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("model.layers.*.self_attn.o_proj", ["model", "layers.*", "self_attn", "o_proj"]),
        ("stages.0.blocks.12.conv", ["stages.0", "blocks.12", "conv"]),
        ("lm_head", ["lm_head"]),
        ("..", []),
        ("", []),
    ],
)
def test_paths_split_into_modules(path: str, steps: list[str]) -> None:
    assert steps_of(path) == steps


@pytest.mark.parametrize(
    ("name", "path", "call"),
    [
        ("stages.1.blocks.*.mlp.fc1.dgrad", "stages.1.blocks.*.mlp.fc1", "dgrad"),
        ("mlp.fc1.bias.cast.backward", "stages.1.blocks.*.mlp.fc1", "bias.cast.backward"),
        ("stages.1.blocks.*.mul", "stages.1.blocks.*", "mul"),
        ("lm_head", "lm_head", "lm_head"),
        ("layers.gap", "model.layers.*", "gap"),
    ],
)
def test_calls_are_named_beside_their_module(name: str, path: str, call: str) -> None:
    assert call_of(name, path) == call


@pytest.mark.parametrize("name", [n for n in factory.odd() if n not in ("sweep", "no rows")])
def test_the_leaves_of_the_tree_are_the_whole(name: str) -> None:
    answer = factory.odd()[name]
    rows = view.rows_of(answer)
    total = math.fsum(r.share for r in rows)
    for least in (0.0, 0.01, 0.6):
        leaves = [n.row.share for _, n, leaf in walk(tree(answer, rows), least) if leaf]
        assert math.isclose(math.fsum(leaves), total, abs_tol=1e-9)


def test_memory_is_read_at_its_worst_point() -> None:
    memory = facts.memory_of(factory.odd()["array ledger"])
    assert memory.fits is False
    assert dict(memory.classes)["kv"] == 70 * factory.GIB


def test_unknown_memory_is_neither_yes_nor_no() -> None:
    assert facts.memory_of(factory.odd()["no capacity"]).fits is None
    assert facts.memory_of(factory.odd()["nan"]).fits is None


def test_what_is_not_predicted_is_left_out() -> None:
    keys = {f.key for f in facts.figures(factory.odd()["nothing predicted"])}
    assert keys == {"throughput"}
    assert {"energy", "power", "cost", "ttft", "tpot"} <= {f.key for f in facts.figures(factory.odd()["all figures"])}


def test_stated_roofs_win_over_derived_ones() -> None:
    plain = factory.prediction([factory.op(bytes=3.35e9, limit=1e-3)])
    assert facts.roofs(plain).memory[0][1] == pytest.approx(3.35e12)
    assert not facts.roofs(plain).exact
    stated = factory.prediction(
        attrs={"roofs": {"compute": {"vector": 1e13, "matrix": 1e15}, "memory": {"HBM": 3e12, "L2": 6e12}}}
    )
    ceilings = facts.roofs(stated)
    assert ceilings.exact
    assert [n for n, _ in ceilings.compute] == ["matrix", "vector"]
    assert [n for n, _ in ceilings.memory] == ["L2", "HBM"]


def test_sweeps_read_as_ranges() -> None:
    assert view.ranged(np.array([1e-3, 2e-3, math.nan]), lambda v: f"{v:g}") == "0.001 … 0.002"
    assert view.ranged(np.array([math.nan]), str) == view.UNKNOWN
    assert view.ranged(3.0, lambda v: f"{v:g}") == "3"


def test_crossovers_say_where_you_are() -> None:
    p = factory.prediction()
    sentence = words.crossover_sentence(p.crossovers[0], p)
    assert "296 tokens" in sentence
    assert "matmul-bound" in sentence
    assert "now 1)" in sentence
    big = factory.prediction(scenario=p.scenario.with_workload(batch=512))
    assert "past it" in words.crossover_sentence(p.crossovers[0], big)


@pytest.mark.parametrize("bound", [*factory.BOUNDS, "unit:transcendental", "stage:", "", ":", "hbm:x"])
def test_every_bound_has_a_look_and_a_name(bound: str) -> None:
    assert theme.family(bound).key in theme.FAMILIES
    assert isinstance(theme.bound_label(bound), str)


def test_text_on_fills_is_readable() -> None:
    """Black or white on each fill reaches a contrast of 4.5 (WCAG AA)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    fills = [c for f in theme.FAMILIES.values() for c in (f.light, f.dark)]
    fills += [c for pair in theme.MEMORY_CLASSES.values() for c in pair]
    for fill in fills:
        low, high = sorted((luminance(fill), luminance(theme.ink_on(fill))))
        assert (high + 0.05) / (low + 0.05) >= 4.5, fill
