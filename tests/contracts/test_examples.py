"""Every example answers: lists of ops on devices of several kinds (modules: see the frontends' tests)."""

from __future__ import annotations

from pathlib import Path

import pytest

import speedlight

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))
MACHINES = ("h100-sxm-80gb", "i9-10940x", "apple-m3-max-40c-128gb", "tpu-v5e")


@pytest.mark.parametrize("path", EXAMPLES, ids=[p.stem for p in EXAMPLES])
def test_an_example_answers_everywhere(path: Path) -> None:
    for machine in MACHINES:
        p = speedlight.explain(str(path), machine)
        assert 0 < p.limit <= p.time
        assert p.low <= p.time <= p.high
        assert sum(row.time for row in p.ops) == pytest.approx(p.time, rel=1e-9)
        assert path.stem in path.read_text("utf-8")  # its own command stands in its first lines


def test_retrieval_has_the_stages_of_its_name() -> None:
    p = speedlight.explain(str(EXAMPLES[0].parent / "retrieval.yaml"), "h100-sxm-80gb")
    assert {row.path.partition(".")[0] for row in p.ops} >= {"encode", "search", "rerank"}
    assert {row.kind for row in p.ops} >= {"matmul", "attention", "sort", "gather", "norm"}
    assert p.throughput["unit"] == "queries/s"


def test_images_wait_for_the_link_on_a_card_and_for_cores_on_a_host() -> None:
    source = str(EXAMPLES[0].parent / "image_input.yaml")
    card = speedlight.explain(source, "rtx-4090")
    assert max(card.ops, key=lambda row: row.time).bound == "link:pcie"
    assert speedlight.explain(source, "i9-10940x").bound in ("vector", "host_dram")
