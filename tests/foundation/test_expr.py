"""Symbolic expressions: arithmetic, broadcasting, group sums, safe parsing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight._foundation.expr import (
    Expr,
    ceildiv,
    compile_tape,
    const,
    evaluate,
    ge,
    group_sum,
    log2,
    maximum,
    minimum,
    substitute,
    sym,
    symbols,
    where,
)
from speedlight._foundation.expr_text import parse_expr

A, B = sym("a"), sym("b")


def expressions() -> st.SearchStrategy[Expr]:
    leaves = st.one_of(st.just(A), st.just(B), st.integers(1, 50).map(const))
    return st.recursive(
        leaves,
        lambda inner: st.tuples(
            st.sampled_from(["+", "-", "*", "min", "max", "ceil", "where", "log2"]), inner, inner
        ).map(build),
        max_leaves=12,
    )


def build(parts: tuple[str, Expr, Expr]) -> Expr:
    op, x, y = parts
    table = {"+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y, "min": lambda: minimum(x, y),
             "max": lambda: maximum(x, y), "ceil": lambda: ceildiv(x, 7), "log2": lambda: log2(maximum(x, y + 1) ** 2 + 1), "where": lambda: where(ge(x, y), x, y)}  # fmt: skip
    return table[op]()


@given(expressions(), st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=1, max_size=5))
def test_arrays_equal_a_loop_over_scalars(expr: Expr, points: list[tuple[int, int]]) -> None:
    looped = [evaluate(expr, {"a": float(a), "b": float(b)}) for a, b in points]
    columns = np.array(points, dtype=float).T
    together = np.broadcast_to(evaluate(expr, {"a": columns[0], "b": columns[1]}), len(points))
    np.testing.assert_allclose(together, looped, rtol=1e-12)


@given(expressions())
def test_text_reads_back(expr: Expr) -> None:
    env = {"a": 3.0, "b": 11.0}
    assert evaluate(parse_expr(str(expr)), env) == pytest.approx(evaluate(expr, env))


@given(expressions())
def test_substitution_equals_binding(expr: Expr) -> None:
    assert evaluate(substitute(expr, {"a": 5, "b": 9}), {}) == pytest.approx(evaluate(expr, {"a": 5, "b": 9}))


def test_group_sum_adds_each_groups_value() -> None:
    pairs = group_sum(sym("count") * (sym("new") * sym("cached") + A))
    groups = [{"count": 2, "new": 3, "cached": 5}, {"count": 1, "new": 7, "cached": 0}]
    assert evaluate(pairs, {"a": 10}, groups) == 2 * (15 + 10) + 10
    assert symbols(pairs) == {"a", "count", "new", "cached"}
    assert compile_tape([pairs]).symbols == {"a"}


def test_common_subexpressions_run_once() -> None:
    calls = []

    class Counting(float):
        def __mul__(self, other: float) -> float:  # type: ignore[override]
            calls.append(other)
            return float(self) * other

    shared = A * B
    assert compile_tape([shared + 1, shared + 2, (A * B) + 3]).run({"a": Counting(2), "b": 5.0}) == [11, 12, 13]
    assert len(calls) == 1


def test_an_unbound_symbol_is_named() -> None:
    with pytest.raises(BadInput, match="'b'"):
        evaluate(A + B, {"a": 1})


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "a.b", "a[0]", "lambda: 1", "f(1)", "a if b else 1", "(", "a and b", "'x'", "[1]", "1 +", "a" * 3000,
     "(" * 500 + "a" + ")" * 500, "True", "ceildiv(1)", "1j", "9**9**9", "2**a"],
)  # fmt: skip
def test_only_arithmetic_is_read(text: str) -> None:
    with pytest.raises(BadInput):
        parse_expr(text)


def test_truth_of_an_expression_is_refused() -> None:
    with pytest.raises(TypeError):
        bool(A)


@pytest.mark.parametrize(
    "text",
    ["(((9**16)**16)**16)**16", "1e999", "(0-8)**0.5", "min(1, b=2)", "log2(n, n)", "__import__('os')", "n.real", "[n]", "n if n else 1",
     "5(n)", "10**16" * 3, "x**y", "9**9**9", "2**1001", "1.0000001**99999", "x**17", ""],
)  # fmt: skip
def test_text_that_is_no_small_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="expression"):
        parse_expr(text)


def test_deep_powers_are_read_once_each() -> None:
    """A parser that read each base twice would take 2^90 steps."""
    text = "(" * 90 + "a" + "**1.01)" * 90
    assert evaluate(parse_expr(text), {"a": 2.0}) == pytest.approx(2 ** (1.01**90))


def test_powers_of_two_are_exact() -> None:
    assert parse_expr("2**40").constant == 2**40


def test_the_logarithm_is_to_base_two() -> None:
    assert evaluate(parse_expr("log2(a * 4)"), {"a": 2.0}) == 3
    assert parse_expr("log2(1024)").constant == 10


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, -(10**400)])
def test_numbers_that_are_no_sizes_are_refused(number: float) -> None:
    with pytest.raises(BadInput, match="not finite"):
        parse_expr(number)


def test_equal_expressions_stand_at_one_place() -> None:
    tape = compile_tape([A * 2 + B, B + A, A * 2, const(2), sym("a") * const(2) + sym("b")])
    assert tape.outputs[0] == tape.outputs[4]
    assert len(set(tape.outputs)) == 4
    cells = tape.run_all({"a": 3.0, "b": 5.0})
    assert [cells[place] for place in tape.outputs] == tape.run({"a": 3.0, "b": 5.0}) == [11.0, 8.0, 6.0, 2, 11.0]


def test_what_names_no_symbol_stays_the_same_object() -> None:
    whole = group_sum(sym("new") * A) + B * 3
    assert substitute(whole, {"c": 1}) is whole
    assert (
        evaluate(substitute(whole, {"a": 2, "b": B}), {"b": 1.0}, [{"count": 1.0, "new": 4.0, "cached": 0.0}]) == 11.0
    )
