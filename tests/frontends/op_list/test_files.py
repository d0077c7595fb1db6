"""Ops files: told apart from scenarios, refused with line and field, bounded in every direction, answered everywhere."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import speedlight
from speedlight._foundation.errors import BadFile, BadInput, SpeedlightError, Unsupported
from speedlight.cli.main import main
from speedlight.frontends.op_list import is_op_list, parse_op_list
from speedlight.scenario.file import save

SMALL = """
schema: 1
name: small
dtype: fp16
symbols:
  n: 1e6
tensors:
  table: {elements: 100 * n, class: index}
ops:
  - name: first
    kind: gather
    work: [{unit: vector, flops: 2 * n}]
    reads: [{tensor: table, elements: n, access: random, granule: 8}]
    writes: [{tensor: found, elements: n}]
  - {name: then, template: radix_sort, with: {n: n, x: found}}
"""
ON = ["--on", "a100-sxm-40gb"]


def write(tmp: Path, text: Any, name: str = "work.yaml") -> str:
    path = tmp / name
    path.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    return str(path)


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    import yaml

    one = speedlight.explain(write(tmp_path, SMALL), "a100-sxm-40gb")
    other = speedlight.explain(write(tmp_path, yaml.safe_load(SMALL), "work.json"), "a100-sxm-40gb")
    assert one.time == other.time
    assert {r.kind for r in one.ops} >= {"gather", "sort"}


def test_a_scenario_is_still_a_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = speedlight.make_scenario(write(tmp_path, SMALL), "a100-sxm-40gb", symbols={"n": 5e5})
    save(asked, tmp_path / "asked.yaml")
    assert not is_op_list(str(tmp_path / "asked.yaml"))
    assert is_op_list(str(tmp_path / "work.yaml"))
    assert main(["explain", str(tmp_path / "asked.yaml"), "--json", "-"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["time"] == pytest.approx(speedlight.explain(asked).time)


def test_every_view_of_the_answer_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path, SMALL)
    for by in ("op", "kind", "layer"):
        assert main(["explain", source, *ON, "--by", by, "--set", "n=2e6"]) == 0
        assert "n 2,000,000" in capsys.readouterr().out
    assert main(["explain", source, *ON, "--json", "-", "--html", str(tmp_path / "page.html")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert sum(r["time"] for r in said["ops"]) == pytest.approx(said["time"], rel=1e-9)
    assert said["memory"]["by_class"]["cache"] == 2e8
    assert "small" in (tmp_path / "page.html").read_text("utf-8")
    assert main(["fit", source, *ON]) == 0
    assert main(["compare", source, *ON, "--on", "i9-10940x"]) == 0


def test_a_format_stands_in_for_the_files(tmp_path: Path) -> None:
    source = write(tmp_path, SMALL)
    wide = speedlight.explain(source, "a100-sxm-40gb", dtype="fp32")
    assert wide.memory.by_class["cache"] == 4e8
    with pytest.raises(Unsupported, match="its own formats"):
        speedlight.explain(source, "a100-sxm-40gb", weights="fp8")


def test_a_batch_is_a_symbol_like_others(tmp_path: Path) -> None:
    source = write(
        tmp_path, "schema: 1\nsymbols: {batch: 4}\nops: [{name: a, template: copy, with: {elements: batch * 1e8}}]"
    )
    four, eight = speedlight.explain(source, "a100-sxm-40gb"), speedlight.explain(source, "a100-sxm-40gb", batch=8)
    assert eight.limit == pytest.approx(2 * four.limit, rel=0.1)
    assert eight.throughput["unit"] == "samples/s"
    assert speedlight.explain(source, "a100-sxm-40gb", symbols={"batch": 8}).time == eight.time


def test_repeated_blocks_are_priced_once_and_counted(tmp_path: Path) -> None:
    ops = [{"name": "a", "template": "copy", "with": {"elements": 1e8}}]
    once = speedlight.explain(write(tmp_path, {"schema": 1, "ops": ops}, "a.json"), "a100-sxm-40gb")
    blocks = [{"name": "layer", "count": 12, "ops": ops}]
    many = speedlight.explain(write(tmp_path, {"schema": 1, "blocks": blocks}, "b.json"), "a100-sxm-40gb")
    kernels = [sum(r.time for r in p.ops if r.kind == "copy") for p in (once, many)]
    assert kernels[1] == pytest.approx(12 * kernels[0])
    assert many.memory.by_class["activations"] == once.memory.by_class["activations"]  # one layer at a time


def test_collectives_need_a_fabric_that_holds_their_ranks(tmp_path: Path) -> None:
    source = write(
        tmp_path, "schema: 1\nsymbols: {r: 8}\nops: [{name: a, template: collective, with: {ranks: r, elements: 1e8}}]"
    )
    p = speedlight.explain(source, "dgx-h100")
    assert p.bound == "link:nvlink"
    assert {r.kind for r in p.ops} == {"collective", "gap"}
    with pytest.raises(BadInput, match="needs 64 devices"):
        speedlight.explain(source, "dgx-h100", symbols={"r": 64})
    alone = speedlight.explain(source, "h100-sxm-80gb", symbols={"r": 4})
    assert any(a.what == "system" and "4 × h100" in a.value for a in alone.assumptions)


def test_training_a_list_of_ops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no backward pass"):
        speedlight.explain(write(tmp_path, SMALL), "a100-sxm-40gb", phase="train")


# (what is replaced in SMALL, by what; the line and field the message names; what it says)
WRONG = [
    ("schema: 1", "schema: 2", "", "schema is 2"),
    ("schema: 1\n", "", "", "schema is None"),
    ("kind: gather", "kind: gathering", "line 11, ops[0].kind", "unknown kind"),
    ("kind: gather", "kin: gather", "line 10, ops[0]", "unknown field `kin`"),
    ("granule: 8", "granule: eight", "line 13, ops[0].reads[0].granule", "unknown symbol 'eight'"),
    ("granule: 8", "granule: 1 +", "line 13, ops[0].reads[0].granule", "cannot read the expression"),
    ("access: random", "access: randomly", "line 13, ops[0].reads[0].access", "randomly"),
    (", granule: 8", "", "line 13, ops[0].reads[0]", "without a granule"),
    ("tensor: table, elements: n,", "tensor: tabel, elements: n,", "line 13, ops[0].reads[0].tensor", "unknown tensor 'tabel'"),
    ("elements: n, access", "elements: n, bytes: n, access", "line 13, ops[0].reads[0]", "in bytes"),
    ("{tensor: found, elements: n}", "{tensor: found}", "line 14, ops[0].writes[0]", "without a size"),
    ("flops: 2 * n", "flops: [2]", "line 12, ops[0].work[0].flops", "Expected"),
    ("unit: vector", "unit: 'a b'", "line 12, ops[0].work[0].unit", "no name for a unit"),
    ("radix_sort", "radix_sor", "line 15, ops[1].template", "unknown template"),
    ("with: {n: n, x: found}", "with: {x: found}", "line 15, ops[1].with", "lacks n: keys"),
    ("x: found", "y: found", "line 15, ops[1].with.y", "unknown argument of radix_sort"),
    ("x: found", "x: [1]", "line 15, ops[1].with.x", "no tensor"),
    ("x: found", "digit: true", "line 15, ops[1].with.digit", "no size"),
    ("name: then", "name: first", "ops", "two ops are called 'first'"),
    ("name: then", "name: 'a b'", "line 15, ops[1].name", "no name for an op"),
    ("  n: 1e6", "  tokens: 1e6\n  n: 1e6", "line 6, symbols.tokens", "no name for a symbol"),
    ("  n: 1e6", "  n: {low: 1}", "line 6, symbols.n", "one end"),
    ("  n: 1e6", "  n: {low: 1, high: 2, value: 1}", "line 6, symbols.n", "a value and a range"),
    ("  n: 1e6", "  n: m", "line 6, symbols.n", "unknown symbol 'm'"),
    ("  n: 1e6", "  n: 1e6\n  batch: {low: 1, high: 2}", "line 7, symbols.batch", "no number"),
    ("class: index", "class: indices", "line 8, tensors.table", "unknown tensor class"),
    ("class: index", "home: {main: 0.5}", "line 8, tensors.table.home", "sum to 0.5"),
    ("class: index", "home: disk", "line 8, tensors.table.home", "home 'disk'"),
    ("dtype: fp16", "dtype: fp17", "line 4, dtype", "unknown number format"),
    ("  - {name: then", "  - {name: c, kind: collective}\n  - {name: then", "line 15, ops[1].kind", "without a message"),
    ("  - {name: then", "  - {name: c, with: {n: 1}}\n  - {name: then", "line 15, ops[1].with", "without a template"),
    ("template: radix_sort", "span: 2, template: radix_sort", "line 15, ops[1]", "of its own"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "said"), WRONG, ids=[f"{w[3]}-{i}" for i, w in enumerate(WRONG)])
def test_a_bad_field_is_named_with_its_line(old: str, new: str, place: str, said: str) -> None:
    assert old in SMALL
    with pytest.raises(BadFile) as raised:
        parse_op_list(SMALL.replace(old, new, 1), "work.yaml")
    assert said in raised.value.message
    assert place in raised.value.message


# (symbols to set; what the message says)
AMOUNTS = [
    ("n / (n - 5)", 5.0, "cannot be worked out"),
    ("10 - n", 11.0, "elements of a.x is -1"),
    ("n % 0", 1.0, "cannot be worked out"),
    ("(n - 10) ** 0.5", 1.0, "a.x"),
    ("n * 1e299", 1e12, "inf"),
    ("log2(n)", 0.0, "cannot be worked out"),
]


@pytest.mark.parametrize(("text", "value", "said"), AMOUNTS)
def test_an_amount_that_makes_no_sense_names_its_op_and_formula(
    tmp_path: Path, text: str, value: float, said: str
) -> None:
    import numpy as np

    source = write(
        tmp_path,
        {"schema": 1, "symbols": {"n": 16}, "ops": [{"name": "a", "template": "copy", "with": {"elements": text}}]},
        "a.json",
    )
    for given in (value, np.array([16.0, value])):
        with pytest.raises(BadInput, match=r"a\.x") as raised:
            speedlight.explain(source, "a100-sxm-40gb", symbols={"n": given})
        if given is value:
            assert said in raised.value.message


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "schema: 1\nops: []\n" + "\n".join(lines) + "\n"


HOSTILE = [
    ("a YAML bomb of few anchors", bomb(6), "values"),
    ("a YAML bomb of many", bomb(40), "anchors"),
    ("nested deeply", "schema: 1\nops: " + "[" * 5000, "nested"),
    ("nested deeply as JSON", '{"schema": 1, "ops": ' + "[" * 400 + "]" * 400 + "}", "nested"),
    ("a million ops", json.dumps({"schema": 1, "ops": [{"name": "a"}] * 30_000}), "ops"),
    ("too large", "schema: 1\nops:\n" + "  - {name: a}\n" * 400_000, "at most"),
    ("nothing", "schema: 1\nops: []\n", "no ops"),
    ("both", "schema: 1\nops: [{name: a}]\nblocks: [{name: b, ops: [{name: c}]}]\n", "ops and blocks"),
    ("a huge number", "schema: 1\nops: [{name: a, span: " + "9" * 400 + "}]\n", ""),
    ("a long expression", "schema: 1\nops: [{name: a, span: '" + "1+" * 3000 + "1'}]\n", "characters"),
    ("code", "schema: 1\nops: [{name: a, span: \"__import__('os').system('true')\"}]\n", "cannot read the expression"),
    ("a tag", "schema: 1\nops: [!!python/object/apply:os.system ['true']]\n", "YAML"),
    ("infinity", '{"schema": 1, "ops": [{"name": "a", "span": Infinity}]}', ""),
    ("two documents", "schema: 1\nops: [{name: a}]\n---\nschema: 1\n", "YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_hostile_files_are_refused_in_a_moment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    source = write(tmp_path, text, "work.json" if text.startswith("{") else "work.yaml")
    start = time.process_time()
    assert main(["explain", source, *ON]) == 2
    assert time.process_time() - start < 5
    message = capsys.readouterr().err
    assert message.startswith("speedlight: ")
    assert said in message


def test_aliases_count_as_often_as_they_are_used() -> None:
    """200 stars and 4 anchors pass the anchors' check and stand for 10 · 40^4 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 40)}]" for i in range(1, 5)]
    with pytest.raises(BadFile, match="more than 500000 values"):
        parse_op_list("schema: 1\nops: []\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "words",
    [["--set", "n"], ["--set", "n=many"], ["--set", "=3"], ["--set", "m=3"], ["--set", "n=-1"], ["--set", "n=1e400"]],
)
def test_a_bad_symbol_on_the_command_line_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["explain", write(tmp_path, SMALL), *ON, *words]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_any_prefix_of_a_file_is_read_or_refused() -> None:
    for end in range(0, len(SMALL), 7):
        with suppress(SpeedlightError):
            parse_op_list(SMALL[:end])


def test_bare_words_that_yaml_takes_for_truth_values_are_words() -> None:
    text = "schema: 1\nops: [{name: a, template: attention, with: {seqs: 1, queries: 4, heads: 1, head_dim: 8, causal: %s}}]"
    masked, full = (parse_op_list(text % word).blocks[0].ops[0] for word in ("yes", "no"))
    assert masked.flops("matmul").constant == 4 * 8 * 10
    assert full.flops("matmul").constant == 4 * 8 * 16
