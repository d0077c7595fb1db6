"""What the question leaves open about the data: the interval spans it, the assumptions list it, a sweep equals its points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import speedlight
from speedlight import Prediction
from speedlight._foundation.errors import BadInput

FILE = """
schema: 1
name: sparse
symbols:
  n: 1e7
  edges: {about: edges}
  nnz: {low: 1e7, high: 1e9, about: non-zeros, source: "published: a made-up survey"}
  hit: {low: 0, high: 0.9}
  twice: 2 * n
ops:
  - {name: product, template: spmv, with: {m: n, k: twice, nnz: nnz}}
  - {name: lookup, template: embedding_bag, with: {rows: edges, width: 64, entries: n, hit: hit}}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ops") / "sparse.yaml"
    path.write_text(FILE, "utf-8")
    return str(path)


def ask(source: str, machine: str = "a100-sxm-40gb", **symbols: Any) -> Prediction:
    return speedlight.explain(source, machine, symbols={"edges": 1e6, **symbols})


def test_the_interval_reaches_the_ends_of_every_range(source: str) -> None:
    whole = ask(source)
    ends = [ask(source, nnz=nnz, hit=hit) for nnz in (1e7, 1e9) for hit in (0.0, 0.9)]
    assert whole.low == pytest.approx(min(p.low for p in ends), rel=1e-12)
    assert whole.high == pytest.approx(max(p.high for p in ends), rel=1e-12)
    assert whole.low < whole.time / 2
    middle = ask(source, nnz=1e8, hit=0.45)
    assert (whole.time, whole.limit) == (pytest.approx(middle.time), pytest.approx(middle.limit))


def test_inside_a_range_the_interval_holds_too(source: str) -> None:
    whole = ask(source)
    for nnz in (1.3e7, 1e8, 6e8):
        inside = ask(source, nnz=nnz, hit=0.3)
        assert whole.low <= inside.low
        assert inside.high <= whole.high


def test_ranges_are_among_the_assumptions_with_their_grade(source: str) -> None:
    notes = {a.what: a for a in ask(source).assumptions}
    assert notes["nnz"].grade == "published"
    assert "1e+07 to 1e+09, middle 1e+08" in notes["nnz"].value
    assert "--set nnz" in notes["nnz"].source
    assert notes["hit"].grade == "assumed"
    stated = {a.what for a in ask(source, nnz=1e8).assumptions}
    assert "nnz" not in stated
    assert "hit" in stated


def test_what_has_no_range_must_be_given(source: str) -> None:
    with pytest.raises(BadInput, match=r"leaves 'edges' \(edges\) open") as raised:
        speedlight.explain(source, "a100-sxm-40gb")
    assert "--set edges" in raised.value.hint


def test_defaults_follow_from_what_is_set(source: str) -> None:
    """x has 2·n elements, the result n: 120 MB at n = 10^7, 60 MB at half of it."""
    large, small = (ask(source, nnz=1e8, hit=0, edges=1, n=n) for n in (1e7, 5e6))
    assert large.memory.by_class["activations"] == pytest.approx(
        small.memory.by_class["activations"] + 1.05 * 4 * 1.5e7, rel=1e-9
    )
    stated = ask(source, nnz=1e8, hit=0, edges=1, n=5e6, twice=2e7)
    assert stated.memory.by_class["activations"] > small.memory.by_class["activations"]


@pytest.mark.parametrize("machine", ["a100-sxm-40gb", "i9-10940x"])
def test_a_sweep_equals_a_loop_open_ranges_included(source: str, machine: str) -> None:
    edges, n = np.array([1e5, 1e6, 3e7]), np.array([[1e6], [2e7]])
    together = ask(source, machine, edges=edges, n=n)
    assert together.time.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            alone = ask(source, machine, edges=float(edges[j]), n=float(n[i, 0]))
            for name in ("time", "low", "high", "limit", "bytes"):
                assert getattr(together, name)[i, j] == pytest.approx(getattr(alone, name), rel=1e-9), name


@pytest.mark.parametrize(
    ("symbols", "said"),
    [({"nnz": -1.0}, "nnz"), ({"nnz": float("nan")}, "nnz"), ({"hits": 3}, "no size 'hits'"), ({"nnz": np.array([])}, "nnz"),
     ({"nnz": "many"}, "nnz"), ({"nnz": 1e30}, "nnz")],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(source: str, symbols: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ask(source, **symbols)


def test_a_question_replays_from_its_file(source: str, tmp_path: Path) -> None:
    from speedlight.scenario.file import load, save

    asked = speedlight.make_scenario(source, "a100-sxm-40gb", symbols={"edges": 1e6, "hit": 0.25})
    save(asked, tmp_path / "asked.yaml")
    again = load(tmp_path / "asked.yaml")
    assert again == asked
    assert speedlight.explain(again).high == speedlight.explain(asked).high


def test_too_many_open_statistics_are_refused(tmp_path: Path) -> None:
    symbols = "\n".join(f"  s{i}: {{low: 1, high: 2}}" for i in range(9))
    total = " + ".join(f"s{i}" for i in range(9))
    path = tmp_path / "open.yaml"
    path.write_text(
        f"schema: 1\nsymbols:\n{symbols}\nops:\n  - {{name: a, template: copy, with: {{elements: {total}}}}}\n", "utf-8"
    )
    with pytest.raises(BadInput, match="9 data statistics open"):
        speedlight.explain(str(path), "a100-sxm-40gb")
    assert speedlight.explain(str(path), "a100-sxm-40gb", symbols={"s0": 1}).time > 0


def test_a_range_may_depend_on_a_range(tmp_path: Path) -> None:
    """products from 1 to 4 times the candidates, which are 10 to 1000: bytes from 8 · 10 to 8 · 4000."""
    path = tmp_path / "nested.yaml"
    path.write_text(
        "schema: 1\nsymbols:\n  c: {low: 10e6, high: 1000e6}\n  p: {low: c, high: 4 * c}\n"
        "ops:\n  - {name: a, template: copy, with: {elements: p}}\n",
        "utf-8",
    )
    p = speedlight.explain(str(path), "a100-sxm-40gb", stack="ideal")
    ends = [
        speedlight.explain(str(path), "a100-sxm-40gb", stack="ideal", symbols={"c": c, "p": e})
        for c, e in ((10e6, 10e6), (1000e6, 4000e6))
    ]
    assert p.low == pytest.approx(ends[0].low)
    assert p.high == pytest.approx(ends[1].high)
