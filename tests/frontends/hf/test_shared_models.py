"""Every configuration record of the measured tables loads, and is as large as its name or model card says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from speedlight.frontends.hf import architecture, formats_of, read_config
from speedlight.frontends.hf.build import build_graph
from speedlight.graph import stats
from tests.folders import MODELS

pytestmark = pytest.mark.data
FILES = sorted(p for p in MODELS.glob("*.json") if p.stem != "aliases") if MODELS.is_dir() else []

# (total, active) in 10^9 by the model card, where the name says less or is rounded; None for what no card states.
# GLM-5's card says 40 active; 0.7 of indexers are not in it.
CARDS: dict[str, tuple[float, float | None]] = {
    "Qwen3-0.6B": (0.6, None), "Qwen3-1.7B": (1.72, None), "Qwen3-8B": (8.2, None), "Qwen3-14B": (14.8, None),
    "Qwen3-32B": (32.8, None), "Qwen3-30B-A3B": (30.5, 3.3), "Qwen3-VL-30B-A3B": (31.1, None), "Qwen3-VL-2B": (2.13, None),
    "Qwen3-VL-4B": (4.44, None), "Qwen3-VL-8B": (8.77, None), "Qwen3-VL-32B": (33.4, None), "DeepSeek-R1": (671, 37),
    "DeepSeek-V3": (671, 37), "Kimi-K2": (1030, 32), "gpt-oss-120b": (116.8, 5.1), "gpt-oss-20b": (20.9, 3.6),
    "Mixtral-8x7B": (46.7, 12.9), "Mixtral-8x22B": (141, 39), "Llama-4-Maverick": (400, 17), "Llama-4-Scout": (109, 17),
    "DeepSeek-V4-Flash": (284, 13), "DeepSeek-V4-Pro": (1600, 49), "GLM-5": (744, 40.8), "MiniMax-M2": (229, 10),
    "MiMo-V2-Flash": (309, 15), "MiMo-7B": (7.6, None), "gemma-3-12b": (11.8, None), "gemma-3-27b": (27.0, None),
    "Gemma-4-31B": (31.3, None), "NVIDIA-Nemotron-3-Nano-30B-A3B": (31.6, 3.2), "Nemotron-3.5-Lightning": (31.6, 3.2),
    "phi-2": (2.78, None), "Llama-3_3-Nemotron-Super-49B": (49.9, None), "internlm-20b": (20.1, None),
    "CodeLlama-34b": (33.7, None), "Step-3.7-Flash": (196, 11),
}  # fmt: skip


def test_the_records_are_there(data_dir: Path) -> None:
    assert len(FILES) >= 90, f"configuration records at {MODELS} beside {data_dir}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem.rsplit("--", 1)[-1])
def test_a_record_loads_at_its_published_size(path: Path) -> None:
    config = read_config(path)
    arch = architecture(config)
    graph = build_graph(arch, formats_of(config))
    total, active = stats.parameters(graph), stats.active_parameters(graph)
    name = path.stem.rsplit("--", 1)[-1]
    stated = published(name)
    if config.get("params"):  # diffusion records state it; generic blocks must account for nearly all of it
        left = graph.shared["unattributed"].elements.constant if "unattributed" in graph.shared else 0
        assert near(total, config["params"], 0.1 * config["params"])
        assert left is not None
        assert left < 0.15 * total
        return
    if stated is None:  # a name without a size: that it loads is all there is to check
        assert total > 10**9
        return
    assert near(total, *stated[0])
    if stated[1] is not None:  # cards count the input embedding among the active parameters, or they do not
        with_table = active + (0 if arch.tied else arch.vocab * arch.hidden)
        assert near(active, *stated[1]) or near(with_table, *stated[1])


def published(name: str) -> tuple[tuple[float, float], tuple[float, float] | None] | None:
    """((total, rounding), (active, rounding)) in parameters; a name's last digit may be rounded."""
    for start, (total, active) in sorted(CARDS.items(), key=lambda kv: -len(kv[0])):
        if name.startswith(start) or f"-{start}" in name:
            return (total * 1e9, unit(total)), None if active is None else (active * 1e9, unit(active))
    match = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)[Bb](?:-A(\d+(?:\.\d+)?)B)?(?![\w])", name.replace("_", "-"))
    if match is None:
        return None
    total = float(match[1])
    return (total * 1e9, unit(total)), None if match[2] is None else (float(match[2]) * 1e9, unit(float(match[2])))


def unit(number: float) -> float:
    """Half a unit of the last digit stated."""
    digits = len(f"{number:g}".partition(".")[2])
    return 0.5 * 10.0**-digits * 1e9


def near(found: float, stated: float, rounding: float) -> bool:
    return abs(found - stated) <= max(0.02 * stated, rounding)
