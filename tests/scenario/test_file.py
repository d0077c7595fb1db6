"""The scenario file: every field round-trips, the hash is stable, nonsense is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadFile
from speedlight.hardware.machine import OperatingPoint
from speedlight.scenario.file import dumps, load, loads, save, scenario_hash, to_plain
from speedlight.scenario.scenario import (
    Edge,
    ModelRef,
    Parallel,
    Program,
    Rewrite,
    Scenario,
    Technique,
    Wire,
)
from speedlight.scenario.serving import Engines, Load, Serving
from speedlight.workload.places import Place
from speedlight.workload.workload import PHASES, Group, Training, Workload

WORDS = st.text("abcdefghijklmnop-./:0123456789 é", min_size=1, max_size=12)
NUMBERS = st.one_of(
    st.integers(1, 10**9), st.floats(1e-9, 1e15, allow_nan=False),
    st.lists(st.floats(0.5, 1e9), min_size=1, max_size=3).map(np.array),
    st.just(np.array([[1.0, 2.0], [3.0, 4.0]])),
)  # fmt: skip
SMALL = st.integers(1, 64)
NAMES = st.none() | WORDS
PAIRS = st.lists(st.tuples(WORDS, st.one_of(WORDS, st.integers(0, 9))), max_size=2).map(tuple)


def scenarios() -> st.SearchStrategy[Scenario]:
    refs = st.builds(
        ModelRef, source=WORDS, inputs=st.lists(WORDS, max_size=2).map(tuple), dtype=NAMES, weights=NAMES,
        activations=NAMES, kv=NAMES, models_dir=NAMES,
        rewrites=st.lists(st.builds(Rewrite, WORDS, PAIRS), max_size=2).map(tuple),
    )  # fmt: skip
    groups = st.lists(st.builds(Group, NUMBERS, NUMBERS, NUMBERS), max_size=2).map(tuple)
    workloads = st.builds(
        Workload, phase=st.sampled_from(PHASES), batch=NUMBERS, isl=NUMBERS, osl=NUMBERS, context=NUMBERS, groups=groups,
        symbols=st.dictionaries(WORDS, NUMBERS, max_size=2),
        training=st.builds(Training, WORDS, WORDS, st.none() | NUMBERS), moe_load=WORDS,
    )  # fmt: skip
    wires = st.lists(
        st.builds(Wire, WORDS, NUMBERS, WORDS, NUMBERS, period=NUMBERS, stays=st.none() | NUMBERS), max_size=2
    )
    parallels = st.builds(
        Parallel, SMALL, SMALL, SMALL, SMALL, SMALL, st.integers(0, 3), wires=wires.map(tuple), near=st.none() | SMALL
    )
    programs = st.builds(Program, refs, workloads, parallels, NAMES, WORDS)
    edges = st.builds(Edge, WORDS, WORDS, NUMBERS, WORDS, NUMBERS, NUMBERS)
    points = st.builds(OperatingPoint, NUMBERS, NUMBERS, NUMBERS, st.none() | NUMBERS)
    servings = st.builds(
        Serving,
        st.builds(Load, rate=st.none() | st.floats(1e-3, 1e6)),
        st.builds(Engines, policy=NAMES, rules=st.dictionaries(WORDS, WORDS, max_size=2)),
    )
    return st.builds(
        Scenario, programs=st.lists(programs, min_size=1, max_size=3).map(tuple), machine=WORDS,
        overrides=st.dictionaries(WORDS, NUMBERS, max_size=2), point=points, schedule=WORDS, serving=st.none() | servings,
        edges=st.lists(edges, max_size=2).map(tuple),
        techniques=st.lists(st.builds(Technique, WORDS, PAIRS), max_size=2).map(tuple), machines_dir=NAMES, note=WORDS,
    )  # fmt: skip


@given(scenarios())
def test_every_field_comes_back(scenario: Scenario) -> None:
    again = loads(dumps(scenario))
    assert to_plain(again) == to_plain(scenario)
    assert scenario_hash(again) == scenario_hash(scenario)


def every_field(record: Any, path: str = "") -> list[str]:
    """Dotted paths of all fields of nested records."""
    found = []
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        here = f"{path}{field.name}"
        found.append(here)
        items = value if isinstance(value, tuple) else (value,)
        for item in items[:1]:
            if dataclasses.is_dataclass(item):
                found += every_field(item, f"{here}.")
    return found


def test_changing_any_field_changes_the_file_and_the_hash() -> None:
    """The strategy above cannot forget a field: each one is changed here alone, found by reflection."""
    full = Scenario(
        (Program(ModelRef("m", rewrites=(Rewrite("r"),)), Workload(groups=(Group(1, 1, 1),)), Parallel(wires=(Wire("tensor"),))),), "h100",
        edges=(Edge("a", "b"),), techniques=(Technique("t"),), serving=Serving(Load(rate=2.0), Engines()),
    )  # fmt: skip
    plain = to_plain(full)
    paths = every_field(full)
    assert len(paths) > 50
    for path in paths:
        changed = _change(full, path.split("."))
        assert to_plain(changed) != plain, path
        assert scenario_hash(changed) != scenario_hash(full), path
        assert to_plain(loads(dumps(changed))) == to_plain(changed), path


def _change(record: Any, parts: list[str]) -> Any:
    value = getattr(record, parts[0])
    if len(parts) > 1:
        inner = (_change(value[0], parts[1:]),) if isinstance(value, tuple) else _change(value, parts[1:])
        return dataclasses.replace(record, **{parts[0]: inner})
    return dataclasses.replace(record, **{parts[0]: _other(parts[0], value)})


def _other(name: str, value: Any) -> Any:
    if name == "phase":
        return "decode"
    if name in ("overrides", "symbols"):
        return {"x": 2.0}
    if name == "point":
        return OperatingPoint(0.5)
    if name == "training":
        return Training("sgd")
    if name == "parallel":
        return Parallel(2)
    if name == "serving":
        return Serving(Load(osl=7))
    if name == "load":
        return Load(concurrency=3)
    if name == "engines":
        return Engines(replicas=5)
    if name == "rules":
        return {"static": True}
    if name == "workload":
        return Workload("train")
    if name == "model":
        return ModelRef("other")
    if name == "software":
        return {"host": {"graphs": ["decode"]}, "variants": [{"fn": "sdpa", "traffic": 2}]}
    if name == "wires":
        return (Wire("context"),)
    if name in ("inputs",):
        return ("1x2",)
    if name == "parameters":
        return (("k", 1),)
    if name == "offload":
        return (("optimizer", "host"),)
    if name == "places":
        return (Place("kv", "host", 0.5),)
    if name == "stages":
        return (1, 2)
    if isinstance(value, tuple):
        return value * 2
    if isinstance(value, str) or value is None:
        numbers = ("power_w", "micro_batch", "recompute_layers", "shard", "etp", "first", "last")
        return 3.5 if name in numbers else "changed"
    return value + 1


def test_a_saved_scenario_replays(tmp_path: Path) -> None:
    scenario = Scenario((Program(ModelRef("llama-3.1-8b"), Workload("decode", batch=8)),), "h100-sxm-80gb")
    save(scenario, tmp_path / "s.yaml")
    assert scenario_hash(load(tmp_path / "s.yaml")) == scenario_hash(scenario)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "NoneType"), ("[]", "list"), ("schema: 2", "schema"), ("schema: 1", "programs"), ("machine: h100", "schema"),
        ("schema: 1\nmachine: h100\nprograms: []", "no program"),
        ("schema: 1\nmachine: h100\nprograms: [{model: {source: m}, colour: red}]", "colour"),
        ("schema: 1\nmachine: h100\nprograms: [{model: {}}]", "source"),
        ("schema: 1\nmachine: h100\nprograms: {model: m}", "dict"),
        ("schema: 1\nmachine: 5\nprograms: [{model: {source: m}}]", "machine"),
        ("schema: 1\nmachine: h\nprograms: [{model: {source: m}, workload: {phase: dance}}]", "dance"),
        ("schema: 1\nmachine: h\nprograms: [{model: {source: m}, workload: {batch: .nan}}]", "finite"),
        ("schema: 1\nmachine: h\nprograms: [{model: {source: m}, workload: {batch: [1, [2]]}}]", "rectangular"),
        ("schema: 1\nmachine: h\nprograms: [{model: {source: m}, workload: {batch: {a: 1}}}]", "dict"),
        ('{"schema": 1, "machine": ', "JSON"), ("schema: 1\n  machine: [", "YAML"),
    ],
)  # fmt: skip
def test_nonsense_is_named(text: str, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        loads(text)


def test_degrees_and_training_replay_as_asked() -> None:
    parallel = Parallel(
        tp=np.array([1.0, 8.0]), pp=4, cp=2, zero=3, shard=8, sp=1, etp=2, context="ulysses", stages=(7, 8)
    )
    training = Training(
        micro_batch=2, recompute="full", recompute_layers=3, schedule="interleaved", virtual=4, master="none",
        gradients="fp32", states="bf16", offload=(("optimizer", "host"),),
    )  # fmt: skip
    workload = Workload("train", batch=64, training=training)
    scenario = Scenario((Program(ModelRef("llama-3.1-8b"), workload, parallel),), "h100-sxm-80gb")
    again = loads(dumps(scenario))
    assert scenario_hash(again) == scenario_hash(scenario)
    assert again.program.workload.training == training
    assert again.program.parallel.stages == (7, 8)
    np.testing.assert_array_equal(again.program.parallel.tp, parallel.tp)
