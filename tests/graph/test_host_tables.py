"""Rewrites of tables in the host's memory, and of a network's first block in patches."""

from __future__ import annotations

from pathlib import Path

import pytest

from speedlight._foundation.errors import BadInput
from speedlight.api import explain, make_scenario
from speedlight.frontends.source import load_graph
from speedlight.graph.rewrite import rewrite
from speedlight.graph.stats import parameters
from speedlight.techniques.compose import ask, parsed

TABLE = """
schema: 1
name: features
dtype: fp32
symbols: {rows: 1.0e6, width: 100, among: 1.0e8}
tensors: {table: {elements: among * width, class: feature_cache, home: host}}
ops:
  - {name: take, template: gather, with: {rows: rows, width: width, among: among, table: table}}
"""


@pytest.fixture
def features(tmp_path: Path) -> str:
    path = tmp_path / "features.yaml"
    path.write_text(TABLE)
    return str(path)


def test_rows_read_where_they_stand_stage_nothing(features: str) -> None:
    scenario = make_scenario(features, "rtx-3090")
    copied, direct = (
        ask(scenario.replace(techniques=techniques)) for techniques in ((), (parsed("zero-copy-features"),))
    )
    row, packet = 400.0, 64.0  # whole lines of the device's memory
    assert direct.least["link:pcie"] == pytest.approx(1e6 * row / 31.5e9, rel=1e-6)
    assert copied.time < direct.time <= copied.time * (row // packet + 1) * packet / row


def test_what_hits_crosses_no_link(features: str) -> None:
    scenario = make_scenario(features, "rtx-3090")
    every, tenth = (ask(scenario.replace(techniques=t)) for t in ((), (parsed("feature-tiering:hit=0.9"),)))
    assert tenth.least["link:pcie"] == pytest.approx(every.least["link:pcie"] / 10)


def test_paths_and_hits_are_the_same_applied_twice(features: str) -> None:
    graph = load_graph(features)
    direct = rewrite(graph, "host_path", {"path": "zero-copy"})
    assert rewrite(direct, "host_path", {"path": "zero-copy"}) is direct
    hits = rewrite(graph, "host_hits", {"hit": 0.5})
    assert rewrite(hits, "host_hits", {"hit": 0.5}) is hits
    plain = load_graph("llama-3.1-8b")
    assert rewrite(plain, "host_path", {"path": "zero-copy"}) is plain
    with pytest.raises(BadInput, match="thrown"):
        rewrite(graph, "host_path", {"path": "thrown"})
    with pytest.raises(BadInput, match="hit rate"):
        rewrite(graph, "host_hits", {"hit": 2.0})


def test_patches_shrink_the_peak_and_compute_borders_again() -> None:
    graph = load_graph("mobilenetv2_100")
    patched = rewrite(graph, "patches", {"n": 3})
    assert rewrite(patched, "patches", {"n": 3}) is patched
    assert rewrite(graph, "patches", {"n": 1}) is graph
    assert parameters(patched) == parameters(graph)
    scenario = make_scenario("mobilenetv2_100", "stm32h743", batch=1, stack="ideal")
    whole = ask(scenario)
    peaks, work = [], []
    for n in (2, 3, 4):
        answer = ask(scenario.replace(techniques=(parsed(f"patch-based-inference:patches={n}"),)))
        peaks.append(float(answer.memory.by_class["activations"]))
        work.append(float(answer.flops))
    assert sorted(peaks, reverse=True) == peaks
    assert peaks[0] < whole.memory.by_class["activations"] / 2
    assert float(whole.flops) < work[0] < work[1] < work[2] < 1.2 * float(whole.flops)
    with pytest.raises(BadInput, match="patches"):
        rewrite(graph, "patches", {"n": 0})
    assert rewrite(load_graph("bert-large"), "patches", {"n": 3}).attrs.get("patches") is None


def test_an_explained_table_names_its_link(features: str) -> None:
    assert explain(features, "rtx-3090").bound == "link:pcie"
