"""The bundled models: every entry loads, ids have one style, the index is up to date, names resolve."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import speedlight.frontends.zoo as zoo
from speedlight._foundation.provenance import GRADES
from speedlight.frontends.zoo import build_index, zoo_entry, zoo_ids
from speedlight.graph import stats

from .helpers import bundled

ROOT = Path(zoo.__file__).parent
COUNT = re.compile(r"parameter count ([\d,]+)")


def test_the_index_is_up_to_date() -> None:
    """`python scripts/index_zoo.py` changes nothing."""
    stored = json.loads((ROOT / "index.json").read_text(encoding="utf-8"))
    assert stored == build_index(ROOT / "models")
    assert len(zoo_ids()) == len(list((ROOT / "models").glob("*.json"))) >= 90


def test_the_wheel_stays_small() -> None:
    assert sum(p.stat().st_size for p in ROOT.rglob("*.json")) < 300_000


@pytest.mark.parametrize("name", zoo_ids())
def test_every_entry_loads(name: str) -> None:
    entry = zoo_entry(name)
    assert entry is not None
    assert re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", entry["id"])
    assert entry["id"] == name
    assert entry["grade"] in GRADES
    assert entry["source"]
    graph = bundled(name)
    count = COUNT.search(entry["source"])
    if count:  # what confirms the sizes must hold, exactly
        assert stats.parameters(graph) == int(count[1].replace(",", ""))
    else:
        assert stats.parameters(graph) > 10**6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3.1-8b", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("LLAMA-2-7B-HF", "llama-2-7b"),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", "qwen3-235b-a22b"),
        ("bert-large-uncased", "bert-large"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1"),
        ("vit_base_patch16_224", "vit-b-16"),
        ("gpt2_large", "gpt2-large"),
        ("anyone/gpt2-large", "gpt2-large"),  # a basename is enough
    ],
)
def test_names(name: str, expected: str) -> None:
    entry = zoo_entry(name)
    assert entry is not None
    assert entry["id"] == expected


def test_unknown_names_are_none() -> None:
    assert zoo_entry("no-such-model") is None
    assert zoo_entry("org/no-such-model") is None
    assert zoo_entry("") is None


def test_an_entry_is_a_fresh_copy() -> None:
    first = zoo_entry("gpt2")
    assert first is not None
    first["config"]["n_layer"] = 1
    again = zoo_entry("gpt2")
    assert again is not None
    assert again["config"]["n_layer"] == 12


@pytest.mark.parametrize(
    "name",
    ["llama-2-7b", "llama-3.1-8b", "qwen3-32b", "deepseek-v3", "gpt2", "gpt2-xl", "gpt2-large", "bert-large", "opt-13b",
     "opt-1.3b", "mixtral-8x7b", "gemma-3-27b", "gpt-oss-120b", "vit-b-16", "clip-vit-l-14", "mamba-2.8b", "gpt3-175b",
     "megatron-1008b", "llama-3-8b", "llama-3.1-405b"],
)  # fmt: skip
def test_models_of_the_design_are_there(name: str) -> None:
    assert zoo_entry(name) is not None


def test_megatron_table_1() -> None:
    """arXiv 2104.04473 Table 1: the name is the number of parameters in 10^9, by its eq. 2."""
    for name in (i for i in zoo_ids() if i.startswith("megatron-") and i != "megatron-22b"):
        billions = float(name.removeprefix("megatron-").removesuffix("b"))
        assert stats.parameters(bundled(name)) / 1e9 == pytest.approx(billions, rel=0.005, abs=0.06)
